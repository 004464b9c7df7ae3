"""The command `holdfast`: the client's calls, from a shell."""

from importlib.util import find_spec

from holdfast import _package

_package.check()
if find_spec("rich") is None:
    raise ImportError("the command needs the extra `cli`: pip install 'holdfast-client[cli]'", name="rich")
