"""The file of static tokens: what is valid in it, and whose token is which."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.trust import tokens
from holdfast_server.trust.watched_file import InvalidFileError, Watched
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "a" * 64
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,20}", fullmatch=True)
ends = st.datetimes(datetime(2000, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)).map(
    lambda end: end.replace(microsecond=0)
)
entries = st.builds(tokens.StaticToken, names, st.binary(min_size=32, max_size=32).map(bytes.hex), st.none() | ends)


@pytest.fixture
def file(tmp_path):
    """Return a function that makes a file of tokens, and returns the issuer that knows them."""

    def make(*entries):
        path = tmp_path / "tokens.toml"
        path.write_bytes(tokens.serialized(list(entries)))
        return tokens.StaticTokens(Watched(tokens.reader(str(path))(path.read_bytes())))

    return make


@given(st.lists(entries, max_size=5, unique_by=lambda entry: entry.digest))
def test_the_file_is_read_as_it_was_written(given_entries):
    assert tokens.parse(tokens.serialized(given_entries)) == given_entries


@given(st.binary(max_size=200))
def test_any_content_is_tokens_or_invalid(data):
    with suppress(InvalidFileError):
        tokens.parse(data)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x", "expected TOML"),
        ("x = 1", r"expected \[\[token\]\] tables only, got x"),
        ("token = 1", r"expected \[\[token\]\] tables only"),
        ("token = [1]", "token 1: expected a table"),
        (f'[[token]]\nname = "a"\nsha256 = "{DIGEST}"\nexpire = 1', "token 1: unknown key 'expire'"),
        ('[[token]]\nname = "a"', "token 1: sha256: expected 64 hex digits"),
        (f'[[token]]\nname = "a"\nsha256 = "{DIGEST.upper()}"', "token 1: sha256: expected 64 hex digits"),
        (f'[[token]]\nsha256 = "{DIGEST}"', "token 1: name: expected 1 to 128 letters, .* got None"),
        (f'[[token]]\nname = "a b"\nsha256 = "{DIGEST}"', "token 1: name: expected .* got 'a b'"),
        (f'[[token]]\nname = "a"\nsha256 = "{DIGEST}"\nexpires = 2027-01-01T00:00:00', "expires: .* with a time zone"),
        (f'[[token]]\nname = "a"\nsha256 = "{DIGEST}"\nexpires = 2027-01-01', "expires: .* with a time zone"),
        (f'[[token]]\nname = "a"\nsha256 = "{DIGEST}"\nexpires = "never"', "expires: .* with a time zone"),
        (f'[[token]]\nname = "a"\nsha256 = "{DIGEST}"\n' * 2, "two tokens have the same sha256"),
    ],
)
def test_invalid_content_is_named(content, problem):
    with pytest.raises(InvalidFileError, match=problem):
        tokens.parse(content.encode())


def test_a_token_that_was_put_in_place_of_its_digest_is_not_shown():
    token, _ = tokens.new_token("ci", None)
    with pytest.raises(InvalidFileError) as invalid:
        tokens.parse(f'[[token]]\nname = "ci"\nsha256 = "{token}"'.encode())
    assert token not in str(invalid.value)


@pytest.mark.parametrize("mode", [0o660, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(tmp_path, mode):
    path = tmp_path / "tokens.toml"
    path.touch()
    path.chmod(mode)
    with pytest.raises(InvalidFileError, match=f"others can write it: expected mode 600 to 644, got {mode:o}"):
        tokens.reader(str(path))(b"")


def test_a_token_is_long_random_and_found_by_its_digest(file):
    token, entry = tokens.new_token("ci", None)
    another, _ = tokens.new_token("ci", None)
    assert token != another
    assert len(token.removeprefix("hft_")) == 43  # 256 bits in base64
    assert entry.digest == hashlib.sha256(token.encode()).hexdigest()
    assert file(entry).issued(token)
    assert file(entry).at_once(token).identities == ("token:ci",)


def test_two_tokens_may_have_one_name(file):
    old, old_entry = tokens.new_token("ci", None)
    new, new_entry = tokens.new_token("ci", None)
    issuer = file(old_entry, new_entry)
    assert issuer.at_once(old) == issuer.at_once(new)


def test_digests_that_begin_alike_are_kept_apart(file):
    token, entry = tokens.new_token("ci", None)
    alike = tokens.StaticToken("other", entry.digest[:12] + "0" * 52, None)
    assert file(alike, entry).at_once(token).name == "token:ci"
    with pytest.raises(HoldfastError, match="not known"):
        file(alike).at_once(token)


def test_a_token_is_valid_until_its_end(file, monkeypatch):
    end = datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    token, entry = tokens.new_token("ci", end)
    issuer = file(entry)
    now = end.timestamp() - 0.001
    monkeypatch.setattr(tokens, "_now", lambda: now)
    assert issuer.at_once(token).expires_at == end.timestamp()
    now = end.timestamp()
    with pytest.raises(HoldfastError, match="the token of 'token:ci' has expired"):
        issuer.at_once(token)
