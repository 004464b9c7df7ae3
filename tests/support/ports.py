"""Free ports, and a wait for servers that listen on them."""

import socket
import time
import urllib.error
import urllib.request

import pytest


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def skip_without_ipv6() -> None:
    """Skip the test where no server can listen on addresses of IPv6, as in many containers."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6: {error}")


def wait_for_http(url: str) -> None:
    """Wait up to a minute until a server answers with any status.

    Raises:
        OSError: the server does not answer.

    """
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
