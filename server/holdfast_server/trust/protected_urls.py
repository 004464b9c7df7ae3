"""URLs whose content nobody on the network can change."""

from urllib.parse import urlsplit

_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def is_protected(url: str) -> bool:
    """Return whether a URL is one of https, or one of http on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK_HOSTS))
