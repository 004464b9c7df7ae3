"""What both clients share: values, errors, checks and the rules of retries. Nothing here opens a connection.

To read in this order: `checkpoint` and `errors`, `arguments` and `messages` (into a request), `answers` (out of a
response), `payload`, `retry` and `statuses`.
"""
