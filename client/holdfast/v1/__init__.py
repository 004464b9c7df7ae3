"""Generated stubs of the API."""
