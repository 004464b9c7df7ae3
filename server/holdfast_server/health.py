"""Asks a running server whether it serves, by `grpc.health.v1`. Container health checks use it."""

import socket
import ssl
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast_server.listen_address import is_loopback
from holdfast_server.trust.watched_file import InvalidFileError, read

# The service name of readiness: whether calls that need the store can succeed now. The names "" and that of the service
# stand for liveness: whether the process serves, in whatever state its store is.
READY = "holdfast.ready"

_TIMEOUT_SECONDS = 3.0


class NotServingError(Exception):
    """A server does not serve. The message says why."""


@dataclass(frozen=True, slots=True)
class ProbeTLS:
    """How a probe uses TLS.

    Attributes:
        ca_file: the server's authorities in PEM. "": a server on this machine is trusted as it is, whatever its
            certificate says, and another one by gRPC's authorities.
        cert_file: the certificate to present in PEM; "" for none.
        key_file: its private key in PEM.

    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def require_serving(target: str, *, ready: bool = False, tls: ProbeTLS | None = None) -> None:
    """Check that a server answers within three seconds that it serves.

    Args:
        target: host:port.
        ready: check as well that its store works.
        tls: how to use TLS; None for plaintext.

    Raises:
        NotServingError: it does not.
        InvalidFileError: a file of TLS cannot be read.

    """
    with _channel(target, tls) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=READY if ready else "")
            answer = stub.Check(request, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise NotServingError(f"no answer from {target}: {error.code().name}: {error.details()}") from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        raise NotServingError(f"{target} is not {'ready' if ready else 'serving'}: {status}")


def _channel(target: str, tls: ProbeTLS | None) -> Any:
    # A proxy could answer for another server than this one.
    options: list[tuple[str, Any]] = [("grpc.enable_http_proxy", 0)]
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    authorities = _read("tls_ca_file", tls.ca_file) if tls.ca_file else None
    if authorities is None and is_loopback(target):
        authorities, name = _presented(target, tls)
        options.append(("grpc.ssl_target_name_override", name))
    key = _read("tls_key_file", tls.key_file) if tls.key_file else None
    certificate = _read("tls_cert_file", tls.cert_file) if tls.cert_file else None
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(authorities, key, certificate), options=options)


def _read(setting: str, path: str) -> bytes:
    try:
        return read(path)
    except InvalidFileError as error:
        raise InvalidFileError(f"{setting}: {path!r}: {error}") from None


def _presented(target: str, tls: ProbeTLS) -> tuple[bytes, str]:
    """Return the certificate in PEM that a server on this machine presents, and a name that it is valid for.

    The files of the server may hold another one by now, which the server does not use yet or cannot use.

    Raises:
        NotServingError: the server presents none.

    """
    # Needed for TLS only.
    from cryptography import x509  # noqa: PLC0415

    from holdfast_server.trust.tls import UNREADABLE  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = target.rpartition(":")
    try:
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
        with (
            socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_SECONDS) as connection,
            context.wrap_socket(connection) as secured,
        ):
            presented = secured.getpeercert(binary_form=True) or b""
        names = x509.load_der_x509_certificate(presented).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (OSError, x509.ExtensionNotFound, *UNREADABLE) as error:
        raise NotServingError(f"no certificate from {target}: {error}") from None
    found = [*names.value.get_values_for_type(x509.DNSName), *names.value.get_values_for_type(x509.IPAddress)]
    name = str(found[0]).replace("*", "any", 1) if found else host
    return ssl.DER_cert_to_PEM_cert(presented).encode(), name
