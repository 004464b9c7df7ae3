"""Why a server closes each connection at once.

gRPC reports the same words for a server that expects TLS from a client without it, for one that refuses the client's
certificate, and for one that ends. A handshake beside gRPC distinguishes them. It sends nothing of a call.
"""

import os
import socket
import ssl
import tempfile
import time

from holdfast._core import targets
from holdfast._core.errors import HoldfastError, handshake_failed
from holdfast._core.statuses import is_closed_at_once
from holdfast._core.tls import Security

_HANDSHAKE_SECONDS = 2.0
# A server that is overloaded closes connections as well: do not add to its load.
_PAUSE_SECONDS = 5.0


class Suspicions:
    """The suspicions of one client that its connections fail for good.

    Args:
        target: the target.
        security: how the connections are protected; None for plaintext.

    """

    def __init__(self, target: str, security: Security | None) -> None:
        self._target = target
        self._security = security
        self._examined = -_PAUSE_SECONDS

    def apply_to(self, error: HoldfastError, left_seconds: float) -> bool:
        """Return whether to examine the server after an error of a call that has some time left."""
        is_due = time.monotonic() - self._examined >= _PAUSE_SECONDS and left_seconds > 0
        return is_due and is_closed_at_once(error)

    def explained(self, error: HoldfastError, left_seconds: float) -> HoldfastError:
        """Return an error that says why each connection fails; the given one if that is not found.

        Args:
            error: the error of a call.
            left_seconds: how long it may take.

        """
        self._examined = time.monotonic()
        # The address in the error may come from a server, which must not choose where this client connects to.
        address = targets.last_address(self._target)
        if address is None or targets.proxy_of(self._target):
            return error
        timeout = min(left_seconds, _HANDSHAKE_SECONDS) / 2
        if self._security is None:
            problem = _without_tls(address, timeout)
        else:
            problem = _with_tls(address, timeout, self._security)
        if not problem:
            return error
        # Each call until the server is corrected gets the same answer.
        self._examined = -_PAUSE_SECONDS
        return handshake_failed(
            f"no connection to the server: {problem} ({error.message})",
            code=error.code,
            trace_id=error.trace_id,
            request_id=error.request_id,
        )


def _without_tls(address: tuple[str, int], timeout: float) -> str:
    """Return what is wrong with plaintext for a server; "" if that is not known."""
    try:
        _handshake(address, timeout, _context()).close()
    except (OSError, ValueError):
        return ""
    return "it expects TLS: use a target grpcs://host:port, tls=True, or tls=holdfast.TLS(…)"


def _with_tls(address: tuple[str, int], timeout: float, security: Security) -> str:
    """Return what is wrong with the client's certificate for a server; "" if that is not known."""
    tls = security.tls
    context = _context()
    # Only a server that gRPC would trust sees the client's certificate. Like gRPC, trust each certificate in the file,
    # even if it is not that of an authority.
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        if security.authorities is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=security.authorities.decode())
        if security.certificate is not None:
            _load(context, security.certificate, security.key or b"")
        connection = _handshake(address, timeout, context, tls.server_name)
    except (OSError, ValueError):
        return ""
    with connection:
        try:
            # A server of HTTP/2 speaks first. One that refuses the certificate closes the connection instead.
            if connection.recv(1):
                return ""
        except TimeoutError:
            return ""
        except OSError:
            # An alert or a reset.
            pass
    if tls.cert_file is None:
        return "it requires a certificate of the client (tls.cert_file and tls.key_file)"
    refused = "it refuses the client's certificate (tls.cert_file); the server's log says why"
    if security.has_changed():
        return f"{refused}. The file has changed since this client has read it: make a new client"
    return refused


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Let a context present the certificate that the client has read. The files may have others by now."""
    with tempfile.TemporaryDirectory() as folder:
        # A folder, and files in it, that only this user can read.
        path = os.path.join(folder, "pair.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(path)


def _context() -> ssl.SSLContext:
    # A connection that presents no certificate only shows how a server behaves, so that the server is not verified.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _handshake(
    address: tuple[str, int], timeout: float, context: ssl.SSLContext, server_name: str | None = None
) -> ssl.SSLSocket:
    """Return a connection after a handshake. Each wait for the server takes at most `timeout` seconds."""
    connection = socket.create_connection(address, timeout)
    try:
        return context.wrap_socket(connection, server_hostname=server_name or address[0])
    except BaseException:
        connection.close()
        raise
