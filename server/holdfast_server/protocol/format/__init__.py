"""Format: the keys, the bytes of markers and the manifest."""
