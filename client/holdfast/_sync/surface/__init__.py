# Generated from holdfast/_async/surface/__init__.py by tools/async_to_sync.py; do not edit.
"""The calls of a client, by what they are for. `Client` has them all."""
