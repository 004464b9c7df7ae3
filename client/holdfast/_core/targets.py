"""Targets of clients: a folder or a server, whether gRPC accepts it, whether it is on this machine, and its proxy."""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from holdfast._core import arguments

# The schemes of gRPC. A name without one is resolved by DNS.
_SCHEMES = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(?=/)")
_SPECIAL = re.compile(rf"({'|'.join(_SCHEMES)}):", re.IGNORECASE)
_LOOPBACK = re.compile(
    r"(localhost|[\w.-]+\.localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[?(::1|::|::ffff:127\.\d+\.\d+\.\d+)\]?)\.?",
    re.IGNORECASE,
)
_GRPCS = re.compile(r"grpcs://", re.IGNORECASE)
# A server's host may have the name `file`.
_FOLDER = re.compile(r"file:(?!\d+$)", re.IGNORECASE)
_MAX_PORT = 65535
# The environment variables in gRPC's order.
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")


def is_folder(target: str) -> bool:
    """Return whether a target is a folder, whose service runs in this process."""
    return _FOLDER.match(target) is not None


def without_grpcs(target: str) -> str | None:
    """Return the host:port of a target that begins with grpcs://; None for any other target."""
    scheme = _GRPCS.match(target)
    return target[scheme.end() :] if scheme else None


def checked(target: object) -> str:
    """Check that gRPC accepts a target, and return it. A folder's is checked where it is opened.

    Raises:
        TypeError: the target is not a str.
        InvalidRequestError: the target has a scheme that neither gRPC nor this client knows, or no valid port.

    """
    text = arguments.text("target", target)
    if is_folder(text):
        return text
    shown = re.sub(r"//[^/@]*@", "//…@", text)[:200]
    if not text or any(not character.isprintable() or character.isspace() for character in text):
        raise arguments.invalid("target", f"must be host:port or file:///path, not {shown!r}")
    address = without_grpcs(text)
    if address is not None:
        _check_port(address, shown)
        return text
    scheme = _SCHEME.match(text)
    if scheme and scheme[1].lower() not in _SCHEMES:
        raise arguments.invalid(
            "target",
            f"must be host:port, grpcs://host:port, file:///path, or begin with one of gRPC's schemes "
            f"({', '.join(_SCHEMES)}), not {shown!r}",
        )
    if not _SPECIAL.match(text):
        _check_port(text, shown)
    return text


def _check_port(address: str, shown: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or not host or (port.isdecimal() and not 0 < int(port[:6]) <= _MAX_PORT) or not port:
        raise arguments.invalid(
            "target", f"must be host:port with a port of 1 to {_MAX_PORT}, or file:///path, not {shown!r}"
        )


def is_loopback(target: str) -> bool:
    """Return whether a target is on this machine."""
    kind = _SPECIAL.match(target)
    if kind and kind[1].lower().startswith("unix"):
        return True
    rest = target[kind.end() :] if kind else target
    addresses = rest.rpartition("/")[2].split(",")
    return all(_LOOPBACK.fullmatch(_host(address)) for address in addresses)


def last_address(target: str) -> tuple[str, int] | None:
    """Return host and port of the last server that a target names; None if it names none by host and port."""
    kind = _SPECIAL.match(target)
    if kind and kind[1].lower() not in ("dns", "ipv4", "ipv6"):
        return None
    address = (target[kind.end() :] if kind else target).rpartition("/")[2].rpartition(",")[2]
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() and len(port) <= len(str(_MAX_PORT)) else None


def proxy_of(target: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the proxy that gRPC uses for a target, without its credentials; "" for none."""
    if is_loopback(target):
        return ""
    found = next((environment[name] for name in _PROXIES if environment.get(name)), "")
    parts = urlsplit(found if "//" in found else f"http://{found}")
    exceptions = next((environment[name] for name in _EXCEPTIONS if environment.get(name)), "").split(",")
    host = _host(target.rpartition("/")[2])
    if not parts.netloc or any(suffix.strip() and host.endswith(suffix.strip()) for suffix in exceptions):
        return ""
    return parts.netloc.rpartition("@")[2]


def _host(address: str) -> str:
    # An IPv6 address without brackets has no port.
    host, colon, port = address.rpartition(":")
    return host if colon and port.isdecimal() and not address.endswith("::1") else address
