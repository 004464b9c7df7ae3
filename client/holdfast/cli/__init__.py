"""The command `holdfast`: what the client can do, from a shell."""

from holdfast import _package

_package.check()
