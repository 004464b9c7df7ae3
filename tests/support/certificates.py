"""Certificates for tests of TLS: authorities, and what they issue. Made at run time, never committed."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=1)
EXPIRED = timedelta(days=2)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in files.

    Attributes:
        cert_file: the certificate, in PEM.
        key_file: its private key, in PEM.

    """

    cert_file: Path
    key_file: Path


class Authority:
    """A certificate authority whose files lie in a folder of its own.

    Args:
        folder: the folder; it is created.
        name: the common name; "" for one of its own.

    Attributes:
        ca_file: its certificate, in PEM.

    """

    def __init__(self, folder: Path, name: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or f"Authority {folder.name}")])
        built = _builder(self._name, self._name, self._key, datetime.now(UTC)).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(_pem(built.sign(self._key, hashes.SHA256())))

    def issue(
        self,
        name: str = "server",
        *,
        hosts: Sequence[str] = ("localhost", "127.0.0.1"),
        uris: Sequence[str] = (),
        age: timedelta = timedelta(),
        key: PrivateKey | None = None,
        uses: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    ) -> Pair:
        """Issue a certificate for a server or a client, which is valid for a day.

        Args:
            name: its common name, and the name of its files.
            hosts: DNS names and addresses that it is valid for.
            uris: URIs that it is valid for, such as SPIFFE ids.
            age: how long ago it was issued; EXPIRED for one that has expired.
            key: its private key; None for a new one.
            uses: what it may be used for.

        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [*map(_general_name, hosts), *map(x509.UniformResourceIdentifier, uris)]
        built = _builder(subject, self._name, key, datetime.now(UTC) - age).add_extension(
            x509.ExtendedKeyUsage(uses), critical=False
        )
        if names:
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        pair.cert_file.write_bytes(_pem(built.sign(self._key, hashes.SHA256())))
        pair.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair


def replace(old: Pair, new: Pair) -> None:
    """Write one pair over the files of another, the certificate first, each file at once."""
    for target, source in ((old.cert_file, new.cert_file), (old.key_file, new.key_file)):
        written = target.with_suffix(".new")
        written.write_bytes(source.read_bytes())
        written.replace(target)


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey, issued: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of two programs may differ by a little.
        .not_valid_before(issued - timedelta(minutes=1))
        .not_valid_after(issued + _VALID - timedelta(minutes=1))
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
