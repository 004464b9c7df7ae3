"""Generated stubs of the API."""

from holdfast import _package

_package.check()
