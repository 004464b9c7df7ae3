"""The asynchronous client. The synchronous one in `_sync` is generated from it, except for its `runtime`.

Imports point one way: client > workflow, lists > loads > records, saves > transport > calls > runtime.
"""
