"""What both clients share: values, errors, checks, retries. Nothing here opens a connection."""
