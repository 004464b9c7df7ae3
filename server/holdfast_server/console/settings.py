"""The settings of a console, checked once."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast_server.listen_address import is_loopback

DEFAULT_LISTEN = "127.0.0.1:7434"
# What a URL template has in place of the trace id.
TRACE_ID = "{trace_id}"


class ConsoleError(Exception):
    """A setting of the console is invalid. The message begins with its name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a console shows, to whom, and what it allows.

    Attributes:
        target: the Holdfast server, as the client has it, or `file:///path` for the service of a folder.
        listen: address to serve on, host:port; port 0 takes a free one.
        shown_target: the target as pages show it; "" for `target`.
        allow_changes: whether pages can delete and fence.
        trace_url_template: the URL of a trace, with `{trace_id}` in it; "" for no links.
        tls_cert_file: the console's certificate in PEM; "" for plaintext.
        tls_key_file: its private key in PEM.
        insecure: whether other machines may reach the console in plaintext, or with rights that are not their own.
        token: the token of callers who bring none, or a function that returns it; None for none.
        is_open: whether callers without a token may have rights: the target is a folder, or does not authenticate.
        ca_file: the authorities in PEM that the target's certificate must be of; "" for those of the system.
        client_cert_file: the certificate to present to the target, in PEM; "" for none.
        client_key_file: its private key in PEM.
        server_name: the name that the target's certificate must have; "" for that of the target.
        token_insecure: whether tokens may be sent in plaintext to a target on another machine.
        hosts: the names by which browsers may reach it, besides those of this machine when it listens on loopback;
            empty for any when it does not.

    """

    target: str
    listen: str = DEFAULT_LISTEN
    shown_target: str = ""
    allow_changes: bool = False
    trace_url_template: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    insecure: bool = False
    token: str | Callable[[], str] | None = None
    is_open: bool = False
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    server_name: str = ""
    token_insecure: bool = False
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConsoleError: one is invalid.

        """
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ConsoleError(f"listen: expected host:port, got {self.listen!r}")
        for given, needed in (("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file")):
            if getattr(self, given) and not getattr(self, needed):
                raise ConsoleError(f"{needed}: expected a file, because {given} is given")
        check_trace_url_template(self.trace_url_template)
        for name in self.hosts:
            _check_host(name)
        if is_loopback(self.listen) or self.insecure:
            return
        if not self.is_tls:
            raise ConsoleError(
                f"listen: other machines can reach {self.listen!r}, and nothing protects the connections: set "
                "tls_cert_file and tls_key_file, or allow plaintext with insecure (--insecure)"
            )
        own = "token" if self.token is not None else "client_cert_file" if self.client_cert_file else ""
        if own or self.is_open:
            raise ConsoleError(
                f"{own or 'target'}: everybody who can reach {self.listen!r} would have "
                f"{'the rights of the console' if own else 'all rights'}: let callers sign in with tokens of their "
                "own, listen on this machine only, or allow it with insecure (--insecure)"
            )

    @property
    def is_tls(self) -> bool:
        """Whether the console itself serves by TLS."""
        return bool(self.tls_cert_file)


def _check_host(name: str) -> None:
    """Check a name by which browsers reach the console. Any port is accepted, so that a name has none."""
    try:
        is_valid = ipaddress.ip_address(name).version in (4, 6)
    except ValueError:
        is_valid = bool(name) and not any(each in ":/?#@[]" or each.isspace() for each in name)
    if not is_valid:
        raise ConsoleError(f"hosts: expected a name or an address without a scheme and a port, got {name!r}")


def check_trace_url_template(template: str) -> None:
    """Check the URL of traces.

    Raises:
        ConsoleError: it is not an http or https URL with `{trace_id}`.

    """
    if not template:
        return
    try:
        url = urlsplit(template)
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("http", "https") or not url.netloc or TRACE_ID in url.netloc or TRACE_ID not in template:
        raise ConsoleError(
            f"trace_url_template: expected an http or https URL with {TRACE_ID} in its path or query, got {template!r}"
        )
