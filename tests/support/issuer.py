"""An issuer of OIDC tokens: a real HTTP server on this machine, whose answers a test can change, delay and stop."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "holdfast"
_RSA = rsa.generate_private_key(65537, 2048)
_OTHER_RSA = rsa.generate_private_key(65537, 2048)
_EC = ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """An issuer with an RSA key "rsa" and an EC key "ec".

    Attributes:
        url: its URL.
        keys: the private keys whose public ones it publishes, by id.
        other_key: an RSA key that it does not publish.
        requests: how often each path was requested.
        answers: set while it answers; a request waits until then.
        is_down: whether it answers with status 500.
        jwks: what it publishes in place of its keys; None for its keys.

    """

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Any] = {"rsa": _RSA, "ec": _EC}
        self.other_key = _OTHER_RSA
        self.requests: Counter[str] = Counter()
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_down = False
        self.jwks: Any = None
        self.described: dict[str, Any] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a server that accepts its tokens."""
        return {"oidc_issuer": self.url, "oidc_audience": AUDIENCE}

    def token(
        self, *, key_id: str = "rsa", key: Any = None, headers: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """Return a token that is valid for an hour, with claims changed; None leaves a claim out."""
        now = int(time.time())
        standard = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 3600}
        given = {name: value for name, value in (standard | claims).items() if value is not None}
        key = key or self.keys[key_id]
        named = {name: value for name, value in ({"kid": key_id} | (headers or {})).items() if value is not None}
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(given, key, algorithm, headers=named)

    def forged(self, header: dict[str, Any], secret: bytes | None) -> str:
        """Return a token with any header: unsigned, or signed by HMAC with a secret."""
        claims = jwt.decode(self.token(), options={"verify_signature": False})
        signed = ".".join(_base64(json.dumps(each).encode()) for each in (header, claims))
        signature = b"" if secret is None else hmac.digest(secret, signed.encode(), hashlib.sha256)
        return f"{signed}.{_base64(signature)}"

    def public_pem(self, key_id: str) -> bytes:
        """Return a public key as everybody can make it from the published one."""
        return (
            self.keys[key_id]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def published(self) -> dict[str, Any]:
        """Return its public keys."""
        found = []
        for key_id, key in self.keys.items():
            kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            found.append({**kind.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"})
        return {"keys": found}

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a request."""
        self.requests[request.path] += 1
        await self.answers.wait()
        if self.is_down:
            return web.Response(status=500)
        if request.path == "/keys":
            return web.json_response(self.published() if self.jwks is None else self.jwks)
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.described)


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """Run an issuer."""
    issuer = Issuer()
    application = web.Application()
    application.router.add_get("/{path:.*}", issuer.serve)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield issuer
    finally:
        issuer.answers.set()
        await runner.cleanup()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
