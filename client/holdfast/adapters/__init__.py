"""Engines that checkpoint into Holdfast: a module for each, installed as an extra of the same name."""

from holdfast import _package

_package.check()
