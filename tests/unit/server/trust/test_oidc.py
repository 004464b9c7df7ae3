"""Attacks on a server that accepts OIDC tokens, and an issuer that is slow, down or changes its keys."""

import asyncio
import json
import time

import holdfast
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from holdfast_server.api.calls import Calls
from holdfast_server.config import Config, ConfigError
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.trust import oidc, signing_keys
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from tests.support.authorized import OK, authorized_caller, pipelined
from tests.support.both_clients import ClientInThreads
from tests.support.issuer import AUDIENCE, issuing
from tests.support.watched import serving_watched

UNKNOWN_KEY = "the token names a key that its issuer does not publish"


@pytest.fixture
async def issuer():
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
async def served(issuer, tmp_path):
    async with serving_watched(tmp_path, **issuer.settings) as served:
        yield served


@pytest.fixture
async def caller(served):
    async with authorized_caller(served.target) as caller:
        yield caller


@pytest.fixture
def no_cooldown(monkeypatch):
    monkeypatch.setattr(signing_keys, "COOLDOWN_SECONDS", 0.0)
    monkeypatch.setattr(signing_keys, "_FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def principals(monkeypatch):
    """Return the principals of the calls that were admitted."""
    seen = []
    admit = Calls._admit

    def noting(self, call, request):
        seen.append(call.principal)
        admit(self, call, request)

    monkeypatch.setattr(Calls, "_admit", noting)
    return seen


@pytest.mark.parametrize("key_id", ["rsa", "ec"])
async def test_a_token_of_the_issuer_is_accepted_with_its_subject_and_groups(issuer, caller, principals, key_id):
    token = issuer.token(key_id=key_id, groups=["ml", "ops", 7, ""])
    for _ in range(2):
        assert await caller.with_token(token) == OK
    for principal in principals:
        assert principal.name == "oidc:alice"
        assert principal.identities == ("oidc:alice", "oidc:group:ml", "oidc:group:ops")
        assert principal.expires_at > time.time()


async def test_the_keys_are_fetched_once_for_many_calls(issuer, caller):
    found = await asyncio.gather(*(caller.with_token(issuer.token(sub=f"u{number}")) for number in range(20)))
    assert set(found) == {OK}
    assert issuer.requests == {"/.well-known/openid-configuration": 1, "/keys": 1}


async def test_the_url_of_the_keys_may_be_given(issuer, tmp_path):
    settings = issuer.settings | {"oidc_jwks_url": f"{issuer.url}/keys"}
    async with serving_watched(tmp_path, **settings) as served, authorized_caller(served.target) as caller:
        assert await caller.with_token(issuer.token()) == OK
    assert issuer.requests == {"/keys": 1}


def forgeries(issuer):
    """Return tokens that nobody may accept, and what is said about each."""
    now = time.time()
    valid = issuer.token()
    head, body, signature = valid.split(".")
    return {
        "alg none": (issuer.forged({"alg": "none"}, None), "not signed by an accepted algorithm"),
        "alg None with a key": (issuer.forged({"alg": "None", "kid": "rsa"}, None), "not signed by an accepted"),
        "no alg": (issuer.forged({"kid": "rsa"}, None), "malformed|not signed by an accepted"),
        "the public key as a secret": (
            issuer.forged({"alg": "HS256", "kid": "rsa"}, issuer.public_pem("rsa")),
            "not signed by an accepted algorithm",
        ),
        "a key of another kind": (
            issuer.token(key=issuer.keys["ec"], headers={"kid": "rsa"}),
            "signed by another algorithm than its key is for",
        ),
        "another key of the same name": (issuer.token(key=issuer.other_key), "signature of the token is wrong"),
        "a key in the header": (
            issuer.token(key=issuer.other_key, headers={"jwk": {"kty": "RSA"}, "jku": issuer.url}),
            "signature of the token is wrong",
        ),
        "no signature": (f"{head}.{body}.", "signature of the token is wrong|malformed"),
        "changed claims": (f"{head}.{issuer.token(sub='mallory').split('.')[1]}.{signature}", "signature"),
        "expired": (issuer.token(exp=int(now) - 60), "the token has expired"),
        "not valid yet": (issuer.token(nbf=int(now) + 600), "not valid yet"),
        "another audience": (issuer.token(aud="other"), f"another audience: expected '{AUDIENCE}'"),
        "another issuer": (issuer.token(iss="https://other.example"), f"another issuer: expected '{issuer.url}'"),
        "no end": (issuer.token(exp=None), "no claim 'exp'"),
        "no audience": (issuer.token(aud=None), "no claim 'aud'"),
        "no issuer": (issuer.token(iss=None), "no claim 'iss'"),
        "no subject": (issuer.token(sub=None), "no claim 'sub'"),
        "an end that is true": (issuer.token(exp=True), "expired|malformed"),
        "an end that is text": (issuer.token(exp=str(int(now) + 600)), "'exp' of the token is malformed"),
        "an end in milliseconds": (issuer.token(exp=int(now * 1000)), "'exp' of the token is malformed"),
        "an end without end": (issuer.token(exp=10**400), "'exp' of the token is malformed"),
        "an end of any size": (issuer.token(exp=1e300), "'exp' of the token is malformed"),
        "an empty subject": (issuer.token(sub=""), "'sub' of the token is malformed"),
        "a subject that is a group": (issuer.token(sub="group:ml"), "'sub' of the token is malformed"),
        "a subject with a line break": (issuer.token(sub="a\nb"), "'sub' of the token is malformed"),
        "a long subject": (issuer.token(sub="a" * 257), "'sub' of the token is malformed"),
        "no JSON": ("e30.e30.e30", "not signed by an accepted|malformed"),
        "an unknown critical header": (issuer.token(headers={"crit": ["x"], "x": 1}), "malformed"),
    }


async def test_no_forged_token_is_accepted_in_unary_calls_or_pipelines(issuer, caller, principals):
    assert await caller.with_token(issuer.token()) == OK
    principals.clear()
    for name, (token, problem) in forgeries(issuer).items():
        reason, message = await caller.with_token(token)
        assert reason == "UNAUTHENTICATED", name
        assert any(each in message for each in problem.split("|")), (name, message)
        for part in token.split("."):
            assert len(part) < 8 or part not in message
    assert not principals


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=40), min_size=3, max_size=3).map(".".join) | st.text())
def test_any_text_is_refused_as_a_token(token):
    keys = signing_keys.SigningKeys(lambda: None)
    issuer = oidc.OidcTokens(oidc.OidcRules("https://i.example", "a", ("RS256",), "groups"), keys)
    try:
        assert issuer.at_once(token) is None
    except HoldfastError as error:
        assert error.reason == "UNAUTHENTICATED"  # noqa: PT017 - a token may also name a key that is not known


async def test_a_flood_of_unknown_keys_makes_one_fetch(issuer, caller):
    assert await caller.with_token(issuer.token()) == OK
    tokens = [issuer.token(key=issuer.other_key, headers={"kid": f"unknown {number}"}) for number in range(100)]
    found = await asyncio.gather(*map(caller.with_token, tokens))
    assert {reason for reason, _ in found} == {"UNAUTHENTICATED"}
    assert issuer.requests["/keys"] == 1


async def test_a_new_key_is_accepted_after_the_next_fetch(no_cooldown, issuer, caller):
    assert await caller.with_token(issuer.token()) == OK
    issuer.keys["new"] = issuer.other_key
    assert await caller.with_token(issuer.token(key_id="new")) == OK
    assert issuer.requests["/keys"] == 2


async def test_tokens_of_a_key_that_is_no_longer_published_are_refused(no_cooldown, issuer, caller):
    old = issuer.token()
    assert await caller.with_token(old) == OK
    issuer.keys = {"new": issuer.other_key}
    assert await caller.with_token(issuer.token(key_id="new")) == OK
    assert await caller.with_token(old) == ("UNAUTHENTICATED", UNKNOWN_KEY)


async def test_a_slow_issuer_does_not_delay_calls_with_known_keys(no_cooldown, issuer, caller):
    assert await caller.with_token(issuer.token()) == OK
    issuer.answers.clear()
    waiting = asyncio.create_task(caller.with_token(issuer.token(key=issuer.other_key, headers={"kid": "unknown"})))
    while issuer.requests.total() < 3:
        assert await caller.with_token(issuer.token(sub="bob")) == OK
    assert not waiting.done()
    issuer.answers.set()
    assert await waiting == ("UNAUTHENTICATED", UNKNOWN_KEY)


async def test_few_calls_wait_for_a_slow_issuer_and_others_are_refused(issuer, tmp_path):
    issuer.answers.clear()
    async with serving_watched(tmp_path, **issuer.settings) as served, authorized_caller(served.target) as caller:
        calls = [asyncio.create_task(caller.with_token(issuer.token())) for _ in range(40)]
        refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert {call.result()[0] for call in refused} == {"OVERLOADED"}
        issuer.answers.set()
        outcomes = [reason for reason, _ in await asyncio.gather(*calls)]
    assert outcomes.count("OK") >= 32


async def test_an_issuer_that_is_down_leaves_known_keys_in_use_and_is_logged(no_cooldown, issuer, caller, caplog):
    assert await caller.with_token(issuer.token()) == OK
    issuer.is_down = True
    for _ in range(3):
        reason, message = await caller.with_token(issuer.token(key=issuer.other_key, headers={"kid": "unknown"}))
        assert reason == "ISSUER_UNAVAILABLE"
        assert "the keys of its issuer cannot be fetched now" in message
        assert await caller.with_token(issuer.token()) == OK
    logged = [record for record in caplog.records if "cannot be fetched" in record.getMessage()]
    assert len(logged) == 1
    assert "expected status 200, got 500" in logged[0].error


async def test_a_fetch_that_fails_unexpectedly_is_logged_and_made_again(no_cooldown, caplog):
    fetched_again = asyncio.Event()
    failures = [RuntimeError("never seen before")]

    async def fetch():
        if failures:
            raise failures.pop()
        fetched_again.set()
        return {}

    keys = signing_keys.SigningKeys(fetch)
    async with keys.kept_up_to_date():
        with pytest.raises(HoldfastError, match="cannot be fetched now"):
            await keys.renew()
        await asyncio.wait_for(fetched_again.wait(), 20)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]


async def test_a_server_starts_without_its_issuer_and_accepts_tokens_once_it_is_there(no_cooldown, issuer, tmp_path):
    issuer.is_down = True
    async with serving_watched(tmp_path, **issuer.settings) as served, authorized_caller(served.target) as caller:
        assert (await caller.with_token(issuer.token()))[0] == "ISSUER_UNAVAILABLE"
        issuer.is_down = False
        async with asyncio.timeout(20):
            while await caller.with_token(issuer.token()) != OK:
                pass


@pytest.mark.parametrize("kind", [holdfast.AsyncClient, ClientInThreads])
async def test_the_sdk_waits_until_the_issuer_is_back(no_cooldown, issuer, tmp_path, kind):
    issuer.is_down = True
    async with (
        serving_watched(tmp_path, **issuer.settings) as served,
        kind(served.target, timeout=60, token=issuer.token()) as client,
    ):
        saving = asyncio.create_task(client.save("n", "w", b"x", format=holdfast.Format("f", 1)))
        async with asyncio.timeout(20):
            while sum(issuer.requests.values()) < 3:  # noqa: ASYNC110 - the issuer sets no event
                await asyncio.sleep(0.01)
        issuer.is_down = False
        assert (await saving).revision == 1


async def test_a_token_that_expires_is_refused_in_a_running_pipeline(issuer, caller, monkeypatch):
    token = issuer.token()
    async with caller.pipeline(token) as pipeline:
        assert await pipelined(pipeline, 1) == OK
        monkeypatch.setattr(oidc, "_now", lambda: time.time() + 3600 + oidc.LEEWAY_SECONDS)
        assert await pipelined(pipeline, 2) == ("UNAUTHENTICATED", "the token has expired")
        assert await caller.with_token(token) == ("UNAUTHENTICATED", "the token has expired")


async def test_a_token_is_still_accepted_when_the_clocks_differ_a_little(issuer, caller):
    now = int(time.time())
    assert await caller.with_token(issuer.token(exp=now - 10, nbf=now + 10, iat=now + 10)) == OK


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ({"issuer": "https://other.example"}, "expected the description of"),
        ({"jwks_uri": "http://192.0.2.1/keys"}, "jwks_uri: expected an https URL"),
        ({"jwks_uri": 7}, "jwks_uri: expected an https URL"),
    ],
)
async def test_a_description_that_is_not_the_issuers_is_not_followed(issuer, tmp_path, caplog, described, problem):
    issuer.described = described
    async with serving_watched(tmp_path, **issuer.settings) as served, authorized_caller(served.target) as caller:
        assert (await caller.with_token(issuer.token()))[0] == "ISSUER_UNAVAILABLE"
    assert any(problem in getattr(record, "error", "") for record in caplog.records)
    assert issuer.requests["/keys"] == 0


def jwks(*keys):
    return json.dumps({"keys": keys}).encode()


async def test_keys_that_cannot_be_trusted_are_left_out(issuer):
    rsa, ec = issuer.published()["keys"]
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256"}
    private = {**rsa, "kid": "private", "d": rsa["n"]}
    weak = json.loads(RSAAlgorithm.to_jwk(generate_private_key(65537, 1024).public_key()))
    others = [
        {**weak, "kid": "weak"},
        secret,
        private,
        {**rsa, "kid": "enc", "use": "enc"},
        {**rsa, "kid": "alg", "alg": "HS256"},
        7,
        {},
    ]
    found = signing_keys.parse(jwks(rsa, ec, *others, {**ec, "kid": 7}), ("RS256", "ES256"))
    assert set(found) == {("rsa", "RS256"), ("ec", "ES256")}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": []}', b"[" * 100_000, jwks(*[{}] * 101)]
)
def test_what_is_no_set_of_keys_is_refused(data):
    with pytest.raises(signing_keys.KeysUnavailableError):
        signing_keys.parse(data, ("RS256",))


@given(
    st.binary(max_size=100)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_keys_or_refused(data):
    with pytest.raises(signing_keys.KeysUnavailableError):
        signing_keys.parse(data, ("RS256",))


async def test_a_token_without_a_key_id_is_for_the_only_key(issuer, caller):
    token = issuer.token(headers={"kid": None})
    assert await caller.with_token(token) == OK


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"oidc_issuer": "https://i.example"}, "oidc_audience: expected whom the tokens are for"),
        ({"oidc_audience": "a"}, "oidc_issuer: expected the issuer's URL"),
        ({"oidc_jwks_url": "https://i.example/keys"}, "oidc_issuer: expected the issuer's URL"),
        ({"oidc_issuer": "http://i.example", "oidc_audience": "a"}, "oidc_issuer: expected an https URL"),
        ({"oidc_issuer": "i.example", "oidc_audience": "a"}, "oidc_issuer: expected an https URL"),
        ({"oidc_jwks_url": "http://[::", "oidc_issuer": "https://i"}, "oidc_jwks_url: expected an https URL"),
        ({"oidc_algorithms": ("HS256",)}, "oidc_algorithms: expected some of RS256, .* got 'HS256'"),
        ({"oidc_algorithms": ("none",)}, "oidc_algorithms: .* got 'none'"),
        ({"oidc_algorithms": ()}, "oidc_algorithms: expected at least one"),
    ],
)
def test_settings_that_would_accept_too_much_are_refused(settings, problem):
    with pytest.raises(ConfigError, match=problem):
        Config(store="file:///s", **settings)
