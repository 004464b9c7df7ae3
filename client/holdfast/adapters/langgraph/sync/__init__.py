"""The synchronous twins, generated from the asynchronous source."""
