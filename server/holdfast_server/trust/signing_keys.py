"""The keys with which an issuer of OIDC tokens signs, as it publishes them in a JWKS.

One task fetches them: at the start, every few minutes, and when a token names a key that is not known, but then at most
once in a cooldown. Tokens of known keys are checked with the last keys that were fetched, while the issuer is slow or
down.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.trust.protected_urls import is_protected

_LOG = logging.getLogger("holdfast.server")

REFRESH_SECONDS = 300.0
# Least time between two fetches, except after failures: then it begins with the first value and doubles up to this.
COOLDOWN_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 1.0
FETCH_SECONDS = 5.0
_MAX_BYTES = 1 << 20
_MAX_KEYS = 100
# How many calls may wait for a fetch. Further ones are refused, so that waiting calls leave room for others.
_MAX_WAITING = 32

_WELL_KNOWN = "/.well-known/openid-configuration"
# By the kind of a key, or its curve, the algorithms that it can sign with.
_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
}

# By the key's id, "" for none, and the algorithm.
Keys = Mapping[tuple[str, str], PyJWK]


class KeysUnavailableError(Exception):
    """The keys cannot be fetched. The message says why."""


class SigningKeys:
    """The keys of one issuer.

    Args:
        fetch: fetches them. Raises KeysUnavailableError.

    Attributes:
        keys: the last ones that were fetched. Another object after each fetch that found other keys.

    """

    def __init__(self, fetch: Callable[[], Awaitable[Keys]]) -> None:
        self.keys: Keys = {}
        self._fetch = fetch
        self._fetched: Mapping[tuple[str, str], Any] = {}
        self._problem = ""
        self._is_cooling_down = False
        self._is_requested = asyncio.Event()
        self._is_done = asyncio.Event()
        self._waiting = 0
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever other keys are in effect. It must not raise."""
        self._listeners.append(listener)

    def find(self, key_id: str, algorithm: str) -> PyJWK | None:
        """Return a key; None if it is not known. A token that names no key is for the only key, if there is only one.

        Args:
            key_id: its id; "" if the token names none.
            algorithm: how the token is signed.

        """
        if key_id:
            return self.keys.get((key_id, algorithm))
        fitting = [key for (_, each), key in self.keys.items() if each == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def has(self, key_id: str) -> bool:
        """Return whether a key with an id is known, for whatever algorithm."""
        return any(each == key_id for each, _ in self.keys)

    async def renew(self) -> None:
        """Wait for the next keys, unless some were fetched a short while ago.

        Raises:
            HoldfastError: OVERLOADED: too many calls wait. ISSUER_UNAVAILABLE: the keys cannot be fetched.

        """
        if not self._is_cooling_down:
            if self._waiting >= _MAX_WAITING:
                raise HoldfastError(Reason.OVERLOADED, "too many calls wait for the keys of the tokens' issuer")
            self._is_requested.set()
            self._waiting += 1
            try:
                await self._is_done.wait()
            finally:
                self._waiting -= 1
        if self._problem:
            raise HoldfastError(
                Reason.ISSUER_UNAVAILABLE,
                "the token names a key that the server does not know, and the keys of its issuer cannot be fetched now",
            )

    @asynccontextmanager
    async def kept_up_to_date(self) -> AsyncIterator[None]:
        """Fetch the keys while the block runs."""
        fetching = asyncio.create_task(self._run())
        try:
            yield
        finally:
            fetching.cancel()
            await asyncio.wait([fetching])

    async def _run(self) -> None:
        failures = 0
        while True:
            self._is_requested.clear()
            failures = 0 if await self._fetch_once() else failures + 1
            done, self._is_done = self._is_done, asyncio.Event()
            self._is_cooling_down = True
            done.set()
            pause = COOLDOWN_SECONDS
            if failures:
                pause = min(pause, _FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30))
            await asyncio.sleep(pause)
            self._is_cooling_down = False
            if not failures:
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_SECONDS):
                        await self._is_requested.wait()

    async def _fetch_once(self) -> bool:
        """Fetch the keys and return whether that succeeded. A failure is logged once for each problem."""
        try:
            keys = await self._fetch()
        except KeysUnavailableError as error:
            self._failed(str(error), None)
            return False
        except Exception as error:  # noqa: BLE001 - without this task no further key would ever be accepted
            self._failed(f"unexpectedly: {type(error).__name__}", error)
            return False
        self._problem = ""
        published = {name: _material(key) for name, key in keys.items()}
        if published != self._fetched:
            self.keys, self._fetched = keys, published
            _LOG.info("the keys of the tokens' issuer are in effect", extra={"keys": len(keys)})
            for listener in self._listeners:
                listener()
        return True

    def _failed(self, problem: str, error: Exception | None) -> None:
        if problem != self._problem:
            _LOG.error("the keys of the tokens' issuer cannot be fetched", exc_info=error, extra={"error": problem})
        self._problem = problem


@asynccontextmanager
async def fetching(issuer: str, url: str, algorithms: Sequence[str]) -> AsyncIterator[SigningKeys]:
    """Fetch the keys of an issuer while the block runs.

    Args:
        issuer: the issuer's URL.
        url: where it publishes its keys; "" to find that out from the issuer (OpenID Connect Discovery).
        algorithms: the algorithms that are accepted.

    """
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True, auto_decompress=False) as session:

        async def fetch() -> Keys:
            found = url or discovered(await _get(session, issuer.rstrip("/") + _WELL_KNOWN), issuer)
            return parse(await _get(session, found), algorithms)

        keys = SigningKeys(fetch)
        async with keys.kept_up_to_date():
            yield keys


def discovered(data: bytes, issuer: str) -> str:
    """Return where an issuer publishes its keys, according to its own description.

    Raises:
        KeysUnavailableError: the description is invalid, or that of another issuer.

    """
    described = _object(data)
    if described.get("issuer") != issuer:
        raise KeysUnavailableError(
            f"expected the description of {issuer!r}, got {str(described.get('issuer'))[:200]!r}"
        )
    url = described.get("jwks_uri")
    if not isinstance(url, str) or not is_protected(url):
        raise KeysUnavailableError(f"jwks_uri: expected an https URL, got {str(url)[:200]!r}")
    return url


def parse(data: bytes, algorithms: Sequence[str]) -> Keys:
    """Parse a JWKS. Keys that cannot check any accepted algorithm, symmetric ones included, are left out.

    Raises:
        KeysUnavailableError: it is invalid, or has no key that can be used.

    """
    given = _object(data).get("keys")
    if not isinstance(given, list) or len(given) > _MAX_KEYS:
        raise KeysUnavailableError(f"keys: expected a list of at most {_MAX_KEYS} keys")
    keys: dict[tuple[str, str], PyJWK] = {}
    for each in given:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig" or "d" in each:
            continue
        key_id = each.get("kid", "")
        kind = each.get("kty") if each.get("kty") == "RSA" else each.get("crv")
        for algorithm in _ALGORITHMS.get(str(kind), ()):
            if algorithm in algorithms and each.get("alg", algorithm) == algorithm and isinstance(key_id, str):
                with suppress(PyJWTError, ValueError, TypeError):
                    key = PyJWK(each, algorithm)
                    # It returns what is wrong with a key that is too short to be safe.
                    if not key.Algorithm.check_key_length(key.key):
                        keys.setdefault((key_id, algorithm), key)
    if not keys:
        raise KeysUnavailableError(f"expected a key for one of {', '.join(algorithms)}, got none of {len(given)} keys")
    return keys


def _material(key: PyJWK) -> Any:
    return key.key.public_numbers() if hasattr(key.key, "public_numbers") else key.key.public_bytes_raw()


def _object(data: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        raise KeysUnavailableError("expected a JSON object, got something else") from None
    if not isinstance(parsed, dict):
        raise KeysUnavailableError(f"expected a JSON object, got {type(parsed).__name__}")
    return parsed


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return what a URL returns.

    Raises:
        KeysUnavailableError: it returns nothing, or too much, within the time.

    """
    try:
        async with session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as response:
            if response.status != 200:
                raise KeysUnavailableError(f"{url}: expected status 200, got {response.status}")
            data = bytearray()
            async for chunk in response.content.iter_chunked(64 << 10):
                data += chunk
                if len(data) > _MAX_BYTES:
                    raise KeysUnavailableError(f"{url}: expected at most {_MAX_BYTES} bytes, got more")
            return bytes(data)
    except TimeoutError:
        raise KeysUnavailableError(f"{url}: no answer within {FETCH_SECONDS:.0f} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise KeysUnavailableError(f"{url}: {error or type(error).__name__}") from None
