"""Holdfast, the checkpoint store for workflow engines: the server."""
