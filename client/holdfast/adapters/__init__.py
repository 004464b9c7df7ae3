"""Adapters that store the checkpoints of workflow engines in Holdfast.

Each engine has a package or module of its own, installed as the extra of the same name (`holdfast-client[langgraph]`).
Its public names are those that it exports; everything below it, and the other modules here, is private.
"""

from holdfast import _package

_package.check()
