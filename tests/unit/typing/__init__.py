"""The public API of the client: its types, and every name and signature in it."""
