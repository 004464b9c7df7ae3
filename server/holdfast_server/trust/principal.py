"""Principals: the identities under which calls run.

The principal of a running call is `api.call.Call.principal`, on every transport: unary calls, streams, each call of a
pipeline, and calls inside the process.
"""

from dataclasses import dataclass
from hashlib import sha256

# Bytes of a name in a marker.
MAX_RECORDED_BYTES = 256


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a call, as far as the server knows it.

    Attributes:
        name: the identity that logs and markers keep, such as "token:ci", "oidc:SUBJECT", "spiffe://…", "cert:NAME",
            "anonymous" or "embedded".
        identities: every identity that a policy may match, the name first, then such as "oidc:group:ml".
        expires_at: when the credentials end, in Unix seconds; None if they do not.

    """

    name: str
    identities: tuple[str, ...]
    expires_at: float | None = None

    @classmethod
    def named(cls, name: str) -> "Principal":
        """Return the principal of one identity, whose credentials do not end."""
        return cls(name, (name,))

    @property
    def recorded_name(self) -> str:
        """The name as markers keep it: "" without authentication; a long one is cut and ends in its digest."""
        if self is ANONYMOUS or self is EMBEDDED:
            return ""
        encoded = self.name.encode()
        if len(encoded) <= MAX_RECORDED_BYTES:
            return self.name
        kept = encoded[: MAX_RECORDED_BYTES - 65].decode(errors="ignore")
        return f"{kept}~{sha256(encoded).hexdigest()}"


# Every caller of a server without authentication.
ANONYMOUS = Principal.named("anonymous")
# The program that has the service in its own process.
EMBEDDED = Principal.named("embedded")
