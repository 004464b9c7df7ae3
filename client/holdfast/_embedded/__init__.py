"""The service in this process, for clients of `file:///path`. The only part of the client that imports the server.

One thread runs an event loop for all embedded clients of the process (`process`). A folder is open once, for as long as
a client uses it (`folders`). A client's calls are run by its session (`sessions`). `_async/embedded.py` and
`_sync/embedded.py` are the connections of the two clients; they meet the loop only through mailboxes (`mailbox`) and
the events of a call (`calls`).
"""
