"""TLS of a server: its certificate, and the authorities whose certificates callers must present.

The files are read again when they change. New content takes effect with the next connection: open connections and their
calls keep what they began with. Content that cannot be used changes nothing and is reported in the log, such as half of
a file, or a key that does not match its certificate yet.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from holdfast_server import telemetry
from holdfast_server.trust.watched_file import InvalidFileError, Watched, read, watched_content

# What the library raises for a certificate or key that is malformed, or of a kind that it does not know.
UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_LOG = logging.getLogger("holdfast.server")
_CHECK_SECONDS = 1.0
_MIN_RSA_BITS = 2048
_FOR_SERVERS = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
# Those that clients of gRPC accept.
_CURVES = (ec.SECP256R1, ec.SECP384R1)


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The files of a server's TLS, each in PEM.

    Attributes:
        cert_file: the server's certificate, followed by those of intermediate authorities.
        key_file: its private key, without a password.
        client_ca_file: the authorities whose certificates callers must present; "" if callers need none.

    """

    cert_file: str
    key_file: str
    client_ca_file: str = ""


@asynccontextmanager
async def server_credentials(
    files: TLSFiles, *, check_seconds: float = _CHECK_SECONDS
) -> AsyncIterator[grpc.ServerCredentials]:
    """Keep the credentials of a server up to date with their files while the block runs.

    Args:
        files: the files.
        check_seconds: how often to look for a change.

    Raises:
        InvalidFileError: a file cannot be read or used. The message begins with its setting.

    """
    parser = _Parser(files)
    async with watched_content(files.cert_file, parser.read, parser.parse, check_seconds=check_seconds) as current:
        yield grpc.dynamic_ssl_server_credentials(
            current.value, _fetch_from(current), require_client_authentication=bool(files.client_ca_file)
        )


def _fetch_from(current: Watched[Any]) -> Callable[[], Any]:
    """Return a function that gRPC calls for each new connection: it returns new content once, and otherwise None."""
    given = current.value

    def fetch() -> Any:
        nonlocal given
        if current.value is given:
            return None
        given = current.value
        return given

    return fetch


class _Parser:
    """Reads the files of a server and checks that it can serve with them.

    Args:
        files: the files.

    """

    def __init__(self, files: TLSFiles) -> None:
        self._files = files
        self._valid_until = datetime.min.replace(tzinfo=UTC)

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Read the certificate, its key, and the authorities of callers, b"" if callers need no certificate.

        Raises:
            InvalidFileError: a file cannot be read.

        """
        authorities = self._files.client_ca_file
        return (
            self._read("tls_cert_file", self._files.cert_file),
            self._read("tls_key_file", self._files.key_file),
            self._read("tls_client_ca_file", authorities) if authorities else b"",
        )

    def parse(self, contents: tuple[bytes, bytes, bytes]) -> Any:
        """Return the configuration of gRPC for the contents of the files.

        Raises:
            InvalidFileError: they cannot be used together.

        """
        cert, key, authorities = contents
        certificate = self._certificate(cert)
        self._check_key(key, certificate)
        if self._files.client_ca_file:
            self._certificates("tls_client_ca_file", self._files.client_ca_file, authorities)
        self._check_time(certificate)
        telemetry.CERTIFICATE_END.set(certificate.not_valid_after_utc.timestamp())
        return grpc.ssl_server_certificate_configuration([(key, cert)], authorities or None)

    def _read(self, setting: str, path: str) -> bytes:
        try:
            return read(path)
        except InvalidFileError as error:
            raise InvalidFileError(f"{setting}: {path!r}: {error}") from None

    def _certificates(self, setting: str, path: str, data: bytes) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(data)
        except UNREADABLE as error:
            raise InvalidFileError(f"{setting}: expected certificates in PEM in {path!r}: {error}") from None

    def _certificate(self, data: bytes) -> x509.Certificate:
        path = self._files.cert_file
        certificate = self._certificates("tls_cert_file", path, data)[0]
        if not _is_for_servers(certificate):
            raise InvalidFileError(f"tls_cert_file: the certificate in {path!r} is not for servers (extendedKeyUsage)")
        return certificate

    def _public_key(self, certificate: x509.Certificate) -> Any:
        try:
            return certificate.public_key()
        except UNREADABLE as error:
            raise InvalidFileError(
                f"tls_cert_file: the certificate in {self._files.cert_file!r} has no key that can be used: {error}"
            ) from None

    def _check_key(self, data: bytes, certificate: x509.Certificate) -> None:
        path = self._files.key_file
        try:
            public = load_pem_private_key(data, None).public_key()
        except TypeError:
            raise InvalidFileError(f"tls_key_file: the key in {path!r} has a password; expected one without") from None
        except UNREADABLE as error:
            raise InvalidFileError(f"tls_key_file: expected a private key in PEM in {path!r}: {error}") from None
        if _encoded(public) != _encoded(self._public_key(certificate)):
            raise InvalidFileError(
                f"tls_key_file: the key in {path!r} does not match the certificate in {self._files.cert_file!r}"
            )
        if not _is_usable(public):
            raise InvalidFileError(
                f"tls_key_file: expected a key of RSA with at least {_MIN_RSA_BITS} bits, or of the curves P-256 or "
                f"P-384, in {path!r}"
            )

    def _check_time(self, certificate: x509.Certificate) -> None:
        """Refuse a certificate that is not valid now if an earlier one is. Warn of it if there is none."""
        now = datetime.now(UTC)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if begin <= now <= end:
            self._valid_until = end
            return
        problem = (
            f"tls_cert_file: the certificate in {self._files.cert_file!r} is valid from {begin.isoformat()} to "
            f"{end.isoformat()}, not now"
        )
        if now <= self._valid_until:
            raise InvalidFileError(problem)
        _LOG.warning("callers will refuse the server", extra={"error": problem})


def _is_for_servers(certificate: x509.Certificate) -> bool:
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False
    return not _FOR_SERVERS.isdisjoint(uses)


def _is_usable(key: Any) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= _MIN_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)


def _encoded(key: Any) -> bytes:
    data: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data
