"""The commands `token create`, `token list` and `token remove`: they write the file of tokens that servers watch."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta

from holdfast_server import stdio
from holdfast_server.changed_file import changing
from holdfast_server.config import ConfigError
from holdfast_server.trust.tokens import StaticToken, new_token, parse, require_private, serialized
from holdfast_server.trust.watched_file import InvalidFileError, read

_PERIOD = re.compile("([0-9]{1,6})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_NEVER = "never"


def create_token(path: str, name: str, expires_in: str) -> int:
    """Create a token: print it on stdout, this once, and add its digest to the file.

    Args:
        path: the file of tokens; it is created if there is none.
        name: the name of the token's principal.
        expires_in: how long it is valid, such as 90d, 12h or 30m, or "never".

    Returns:
        The exit code.

    Raises:
        ConfigError: an argument or the file is invalid.
        OSError: the file cannot be written.

    """
    expires = None if expires_in == _NEVER else datetime.now(UTC).replace(microsecond=0) + _period(expires_in)
    with changing(path, _read, serialized) as tokens:
        try:
            token, kept = new_token(name, expires)
        except InvalidFileError as error:
            raise ConfigError(str(error)) from None
        tokens.append(kept)
    sys.stdout.write(f"{token}\n")
    stdio.write_stderr(f"token {kept.token_id} of 'token:{name}': expires {_shown(expires)}; it is not shown again")
    return 0


def list_tokens(path: str) -> int:
    """Print each token of the file as a line of JSON, without its digest. Return the exit code.

    Raises:
        ConfigError: the file is invalid.

    """
    now = datetime.now(UTC)
    for token in _read(path):
        line = {
            "name": token.name,
            "id": token.token_id,
            "expires": _shown(token.expires),
            "is_expired": token.expires is not None and token.expires <= now,
        }
        sys.stdout.write(json.dumps(line) + "\n")
    return 0


def remove_tokens(path: str, name: str, token_id: str | None) -> int:
    """Remove the tokens of a name, or one of them, from the file. Servers refuse them within seconds.

    Returns:
        The exit code: 0; 1 if there is no such token.

    Raises:
        ConfigError: the file is invalid.
        OSError: the file cannot be written.

    """
    with changing(path, _read, serialized) as tokens:
        removed = [each for each in tokens if each.name == name and token_id in (None, each.token_id)]
        tokens[:] = [each for each in tokens if each not in removed]
    for token in removed:
        stdio.write_stderr(f"token {token.token_id} of 'token:{name}' is removed")
    if not removed:
        named = f" and the id {token_id!r}" if token_id is not None else ""
        stdio.write_stderr(f"holdfast-server: {path}: no token has the name {name!r}{named}")
    return 0 if removed else 1


def _period(text: str) -> timedelta:
    given = _PERIOD.fullmatch(text)
    if given is None or not int(given[1]):
        raise ConfigError(f"expires-in: expected a period such as 90d, 12h or 30m, or {_NEVER}, got {text!r}")
    return timedelta(**{_UNITS[given[2]]: int(given[1])})


def _shown(expires: datetime | None) -> str:
    return _NEVER if expires is None else expires.isoformat(timespec="seconds")


def _read(path: str) -> list[StaticToken]:
    try:
        require_private(path)
        return parse(read(path))
    except InvalidFileError as error:
        raise ConfigError(f"tokens_file: {path!r}: {error}") from None
