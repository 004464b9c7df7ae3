"""Payload: parts in blobs and markers."""
