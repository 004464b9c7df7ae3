"""OIDC tokens: JSON Web Tokens that an issuer has signed with one of its published keys.

A verified token is kept by its digest, so that a call that repeats it costs a look-up. Its end is compared on every
call, and it is verified again when the issuer's keys change.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from jwt import PyJWK

from holdfast_server.trust.principal import Principal
from holdfast_server.trust.refusals import unauthenticated
from holdfast_server.trust.signing_keys import Keys, SigningKeys

# How far the clocks of the issuer and of this machine may differ.
LEEWAY_SECONDS = 30.0
_MAX_KEPT = 4096
_MAX_NAME = 256
_GROUP = "group:"
# The last second of the year 9999. Later ends are most likely milliseconds, which would last for ever.
_LAST_END = 253_402_300_799
_now = time.time


@dataclass(frozen=True, slots=True)
class OidcRules:
    """What a token must be.

    Attributes:
        issuer: whose it is, its claim `iss`.
        audience: whom it is for, one of its claim `aud`.
        algorithms: how it may be signed; asymmetric ones only.
        groups_claim: the claim that has the groups of its subject.

    """

    issuer: str
    audience: str
    algorithms: Sequence[str]
    groups_claim: str


class OidcTokens:
    """The tokens of one issuer.

    Args:
        rules: what a token must be.
        keys: the issuer's keys.

    """

    def __init__(self, rules: OidcRules, keys: SigningKeys) -> None:
        self._rules = rules
        self._keys = keys
        # By the digest of the token: its principal, and the keys of the time.
        self._verified: OrderedDict[bytes, tuple[Principal, Keys]] = OrderedDict()

    def issued(self, token: str) -> bool:
        """Return whether a token has the form of a signed JSON Web Token."""
        return token.count(".") == 2

    def at_once(self, token: str) -> Principal | None:
        """Return the principal of a token; None if it names a key that is not known.

        Raises:
            HoldfastError: UNAUTHENTICATED.

        """
        digest = hashlib.sha256(token.encode()).digest()
        kept = self._verified.get(digest)
        if kept is not None and kept[1] is self._keys.keys:
            self._verified.move_to_end(digest)
            if kept[0].expires_at is not None and kept[0].expires_at <= _now():
                raise unauthenticated("the token has expired")
            return kept[0]
        key = self._key_of(token)
        if key is None:
            return None
        principal = self._principal(self._claims(token, key))
        self._verified[digest] = principal, self._keys.keys
        if len(self._verified) > _MAX_KEPT:
            self._verified.popitem(last=False)
        return principal

    async def principal_of(self, token: str) -> Principal:
        """Return the principal of a token. Wait for the issuer's newest keys.

        Raises:
            HoldfastError: UNAUTHENTICATED, OVERLOADED, ISSUER_UNAVAILABLE.

        """
        await self._keys.renew()
        principal = self.at_once(token)
        if principal is None:
            raise unauthenticated("the token names a key that its issuer does not publish")
        return principal

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever the issuer has published other keys."""
        self._keys.on_change(listener)

    def _key_of(self, token: str) -> PyJWK | None:
        """Return the key that a token names, for the algorithm that it names; None if there is no such key."""
        try:
            header = jwt.get_unverified_header(token)
        except Exception:  # noqa: BLE001 - whatever the library raises, the caller has made the token
            raise unauthenticated("the token is malformed") from None
        algorithm, key_id = header.get("alg"), header.get("kid", "")
        accepted = self._rules.algorithms
        if not isinstance(algorithm, str) or algorithm not in accepted:
            raise unauthenticated(f"the token is not signed by an accepted algorithm: expected {', '.join(accepted)}")
        if not isinstance(key_id, str):
            raise unauthenticated("the token is malformed")
        key = self._keys.find(key_id, algorithm)
        if key is None and self._keys.has(key_id):
            raise unauthenticated("the token is signed by another algorithm than its key is for")
        return key

    def _claims(self, token: str, key: PyJWK) -> dict[str, Any]:
        """Return the claims of a token, once signature, issuer, audience and times are verified."""
        rules = self._rules
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            problem = "the token has expired"
        except jwt.ImmatureSignatureError:
            problem = "the token is not valid yet"
        except jwt.InvalidIssuerError:
            problem = f"the token is of another issuer: expected {rules.issuer!r}"
        except jwt.InvalidAudienceError:
            problem = f"the token is for another audience: expected {rules.audience!r}"
        except jwt.MissingRequiredClaimError as error:
            problem = f"the token has no claim {error.claim!r}"
        except jwt.InvalidSignatureError:
            problem = "the signature of the token is wrong"
        except Exception:  # noqa: BLE001 - whatever the library raises, the caller has made the token
            problem = "the token is malformed"
        raise unauthenticated(problem)

    def _principal(self, claims: dict[str, Any]) -> Principal:
        subject, expires = claims["sub"], claims["exp"]
        if isinstance(expires, bool) or not isinstance(expires, int | float) or not expires <= _LAST_END:
            raise unauthenticated(
                "the claim 'exp' of the token is malformed: expected a number of seconds, before the year 10000"
            )
        # A subject must not pass for a group.
        if not _is_name(subject) or subject.startswith(_GROUP):
            raise unauthenticated(
                f"the claim 'sub' of the token is malformed: expected 1 to {_MAX_NAME} printable characters, not "
                f"beginning with {_GROUP!r}"
            )
        groups = claims.get(self._rules.groups_claim, [])
        groups = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        name = f"oidc:{subject}"
        named = dict.fromkeys(f"oidc:{_GROUP}{group}" for group in groups if _is_name(group))
        return Principal(name, (name, *named), expires + LEEWAY_SECONDS)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value.isprintable()
