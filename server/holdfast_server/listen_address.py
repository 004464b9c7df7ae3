"""The address that a server listens on: who can reach it, why it cannot be used, one port for several processes."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager


def is_loopback(listen: str) -> bool:
    """Return whether only programs of this machine can reach an address.

    Args:
        listen: host:port.

    """
    host = listen.rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def family(listen: str) -> socket.AddressFamily:
    """Return whether an address, host:port, is one of IPv4 or IPv6."""
    return socket.AF_INET6 if ":" in listen.rpartition(":")[0] else socket.AF_INET


def bind_error(listen: str, cause: str = "") -> OSError:
    """Return the error of an address that a server cannot listen on.

    Args:
        listen: host:port.
        cause: why; if "", the address is bound once more to learn it, since gRPC does not report it.

    """
    return OSError(f"cannot listen on {listen}: {cause or _cause(listen)}")


@contextmanager
def reserved(listen: str) -> Iterator[str]:
    """Hold an address with a socket that never listens, so that only this process's workers can use its port.

    The socket first binds without sharing the port, which fails if any process uses it, including a server with
    workers. Then it allows sharing, so that the workers can bind the port as well.

    Args:
        listen: host:port; port 0 takes a free one.

    Yields:
        The address with the actual port.

    Raises:
        OSError: the address cannot be bound.

    """
    with _socket(listen) as holder:
        try:
            _bind(holder, listen)
        except OSError as error:
            raise bind_error(listen, error.strerror or str(error)) from None
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield f"{listen.rpartition(':')[0]}:{holder.getsockname()[1]}"


def _cause(listen: str) -> str:
    with _socket(listen) as probe:
        try:
            _bind(probe, listen)
        except OSError as error:
            return error.strerror or str(error)
    return "gRPC cannot bind it"


def _socket(listen: str) -> socket.socket:
    return socket.socket(family(listen))


def _bind(to_bind: socket.socket, listen: str) -> None:
    host, _, port = listen.rpartition(":")
    # Connections of a server that has ended do not count.
    to_bind.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    to_bind.bind((host.strip("[]"), int(port)))
