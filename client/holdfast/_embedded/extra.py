"""A check that the service is installed, and that it is the one that this client belongs to.

`pip install holdfast-client[embedded]` installs both.
"""

from holdfast._package import DISTRIBUTION, VERSION

_INSTALL = f"pip install {DISTRIBUTION}[embedded]=={VERSION}"


def require() -> None:
    """Check that the service can run in this process.

    Raises:
        ImportError: `holdfast-server` is not installed, or has another version than this client.

    """
    try:
        from holdfast_server import SERVER_VERSION  # noqa: PLC0415 - clients of a server do not need it
    except ModuleNotFoundError as error:
        if error.name != "holdfast_server":
            raise
        raise ImportError(
            f"a target file:///path runs the service in this process, which needs holdfast-server: {_INSTALL}",
            name=error.name,
        ) from None
    if SERVER_VERSION != VERSION:
        raise ImportError(
            f"a target file:///path needs holdfast-server {VERSION}, found {SERVER_VERSION}: {_INSTALL}",
            name="holdfast_server",
        )
