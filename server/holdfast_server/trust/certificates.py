"""The principals of client certificates, which the connection has verified.

A SPIFFE id names a workload: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md. gRPC knows one only if
it is the certificate's only URI. Other certificates are named by their subject's common name and alternative names.
"""

from collections.abc import Iterable, Mapping

from holdfast_server.trust.principal import Principal

# The names by which gRPC describes a certificate.
_SPIFFE_ID = "peer_spiffe_id"
_COMMON_NAME = "x509_common_name"
_ALTERNATIVE_NAMES = "x509_subject_alternative_name"


def principal_of(certificate: Mapping[str, Iterable[bytes]]) -> Principal | None:
    """Return the principal of a certificate; None if there is none, or it has no name.

    Args:
        certificate: what gRPC knows of it.

    """
    spiffe_ids = _texts(certificate, _SPIFFE_ID)
    if spiffe_ids:
        return Principal.named(spiffe_ids[0])
    names = [*_texts(certificate, _COMMON_NAME), *_texts(certificate, _ALTERNATIVE_NAMES)]
    identities = tuple(dict.fromkeys(f"cert:{name}" for name in names))
    return Principal(identities[0], identities) if identities else None


def _texts(certificate: Mapping[str, Iterable[bytes]], name: str) -> list[str]:
    """Return the values of a property that are text on one line. Others could pass for another name in a log."""
    texts = (value.decode(errors="replace") for value in certificate.get(name, ()))
    return [text for text in texts if text and text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text]
