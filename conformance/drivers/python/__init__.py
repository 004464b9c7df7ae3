"""The reference driver, on the asynchronous client of the Python SDK."""
