"""Previews of payloads: bounded in bytes, values and depth, and made without any code of an engine.

A preview shows the beginning of a part. It never restores objects, and never unpickles. Whatever it leaves out it says.
"""

from holdfast_server.console.preview.preview import READ_BYTES, Preview, preview_of, text_of
from holdfast_server.console.preview.tree import Node

__all__ = ["READ_BYTES", "Node", "Preview", "preview_of", "text_of"]
