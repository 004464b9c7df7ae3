"""TLS of a client: its settings, and the files that they name."""

import os
import ssl
from dataclasses import dataclass, fields
from typing import Any

import grpc

from holdfast._core import arguments, targets

_MAX_BYTES = 1 << 20
# Where systems keep the authorities that they trust, in one file.
_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """How a client uses TLS. `TLS()` trusts the authorities of the system and presents no certificate.

    The files are in PEM and are read when a client is made.

    Attributes:
        ca_file: the authorities that the server's certificate must be of; None for those of the system.
        cert_file: the certificate that the client presents, followed by those of intermediate authorities; None for
            none.
        key_file: the private key of `cert_file`, without a password.
        server_name: the name that the server's certificate must have; None for the host of the target.

    Raises:
        InvalidRequestError: only one of `cert_file` and `key_file` is given, or a value is empty.
        TypeError: a value has another type.

    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value is not None and not arguments.text(
                f"tls.{name}", value if name == "server_name" else _path(value)
            ):
                raise arguments.invalid(f"tls.{name}", "must not be empty")
        for given, missing in (("cert_file", "key_file"), ("key_file", "cert_file")):
            if getattr(self, given) is not None and getattr(self, missing) is None:
                raise arguments.invalid(f"tls.{missing}", f"must be given, because tls.{given} is")


@dataclass(frozen=True, slots=True)
class Security:
    """How the connections of one client are protected.

    Attributes:
        tls: the settings.
        authorities: the trusted authorities in PEM; None for those of gRPC.
        certificate: the certificate to present in PEM; None for none.
        key: its private key in PEM.

    """

    tls: TLS
    authorities: bytes | None
    certificate: bytes | None
    key: bytes | None

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a new channel."""
        return grpc.ssl_channel_credentials(self.authorities, self.key, self.certificate)

    def has_changed(self) -> bool:
        """Return whether the files of the client's certificate now have another content. False if they are gone."""
        try:
            now = _content("cert_file", self.tls.cert_file), _content("key_file", self.tls.key_file)
        except ValueError:
            return False
        return now != (self.certificate, self.key)

    def options(self) -> list[tuple[str, Any]]:
        """Return the options of a new channel."""
        return [("grpc.ssl_target_name_override", self.tls.server_name)] if self.tls.server_name else []


def secured(target: str, tls: object) -> tuple[str, Security | None]:
    """Return a target without the scheme grpcs, and how its connections are protected; None for plaintext.

    Args:
        target: a target that `targets.checked` has accepted.
        tls: the argument `tls` of a client.

    Raises:
        InvalidRequestError: target and argument contradict each other, or a file cannot be used.
        TypeError: the argument has another type.

    """
    if tls is not None and not isinstance(tls, bool | TLS):
        raise TypeError(f"tls must be True, False or a TLS, not a {type(tls).__name__}")
    address = targets.without_grpcs(target)
    if address is None:
        if not tls:
            return target, None
        address = target
    elif tls is False:
        raise arguments.invalid("tls", "must not be False for a target that begins with grpcs://")
    settings = tls if isinstance(tls, TLS) else TLS()
    if targets.is_folder(target):
        raise arguments.invalid("tls", "must not be given for a folder: its service runs in this process")
    if "," in address and settings.server_name is None:
        raise arguments.invalid("tls.server_name", "must name the server, because the target has several addresses")
    return address, _read(settings)


def _read(tls: TLS) -> Security:
    certificate = _content("cert_file", tls.cert_file)
    key = _content("key_file", tls.key_file)
    authorities = _system_authorities() if tls.ca_file is None else _content("ca_file", tls.ca_file)
    if tls.ca_file is not None and authorities is not None:
        _check_authorities(tls.ca_file, authorities)
    if tls.cert_file is not None and tls.key_file is not None:
        _check_pair(tls.cert_file, tls.key_file)
    return Security(tls, authorities, certificate, key)


def _content(name: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise arguments.invalid(
            f"tls.{name}", f"must name a file that can be read, not {_path(path)!r}: {problem}"
        ) from None


def _system_authorities() -> bytes | None:
    """Return the authorities of the system in PEM; None to let gRPC choose: it has a list of its own."""
    if os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        return None
    # The variable SSL_CERT_FILE comes first.
    for path in (ssl.get_default_verify_paths().cafile, *_SYSTEM_FILES):
        if path and os.path.isfile(path):
            return _content("ca_file", path)
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode() or None


def _check_authorities(path: Path, content: bytes) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode())
    except (OSError, ValueError) as error:
        raise arguments.invalid(
            "tls.ca_file", f"must name a file of certificates in PEM, not {_path(path)!r}: {error}"
        ) from None


def _check_pair(cert_file: Path, key_file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Without the argument OpenSSL would ask for the password of a key on the terminal.
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as error:
        raise arguments.invalid(
            "tls.cert_file",
            f"must name a certificate in PEM, and tls.key_file its private key without a password, not "
            f"{_path(cert_file)!r} and {_path(key_file)!r}: {error}",
        ) from None


def _no_password() -> str:
    raise ValueError("the key has a password")


def _path(value: object) -> str:
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"a file of TLS must be a path (str or os.PathLike), not a {type(value).__name__}") from None
    return path if isinstance(path, str) else os.fsdecode(path)
