"""Where settings come from: flags precede `HOLDFAST_*`, which precede a TOML file and the defaults."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from holdfast_server.config import Config, ConfigError, Rules

# URLs of other systems, which may have a user, a password or a query. That of the store is refused if it has.
_URLS = ("oidc_issuer", "oidc_jwks_url")

_PREFIX = "HOLDFAST_"
# Variables of clients that look like settings.
_OF_CLIENTS = frozenset({"HOLDFAST_TOKEN_FILE", "HOLDFAST_TLS_CA_FILE"})
# The value of a variable that Kubernetes sets for a service.
_OF_KUBERNETES = "tcp://"
# Below this, names of different things look alike.
_LIKENESS = 0.8


def load(flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path) -> Config:
    """Load the configuration.

    Args:
        flags: settings from the command line; None for those not given. `config` names a TOML file.
        environment: the environment; `HOLDFAST_CONFIG` names a TOML file.
        folder: the working folder, which holds the default store and is the base of relative paths.

    Raises:
        ConfigError: a setting is invalid or unknown, or the file cannot be read.

    """
    settings: dict[str, Any] = {"store": (folder / "holdfast-data").resolve().as_uri()}
    path = flags.get("config") or environment.get("HOLDFAST_CONFIG")
    if path:
        settings |= _from_file(Path(path))
    for name in (each.name for each in fields(Config)):
        from_environment = environment.get(f"{_PREFIX}{name.upper()}")
        if from_environment is not None:
            settings[name] = _typed(name, from_environment, f"{_PREFIX}{name.upper()}")
        if flags.get(name) is not None:
            settings[name] = _typed(name, flags[name], f"--{name.replace('_', '-')}")
    settings["store"] = _as_url(settings["store"], folder)
    return Config(**settings)


def misspelled(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables that are ignored and look like one of a setting, each with that one.

    They are not refused: Kubernetes sets variables for each service, and clients have some of their own.
    """
    known = sorted(each.name.upper() for each in fields(Config))
    found: dict[str, str] = {}
    for variable, value in sorted(environment.items()):
        name = variable.removeprefix(_PREFIX)
        is_other = name == variable or name in known or variable in _OF_CLIENTS or value.startswith(_OF_KUBERNETES)
        likely = [] if is_other else difflib.get_close_matches(name, known, 1, _LIKENESS)
        if likely:
            found[variable] = f"{_PREFIX}{likely[0]}"
    return found


def as_flags(config: Config) -> list[str]:
    """Return the flags from which `load` makes the same configuration again, in another process."""
    given = asdict(config)
    texts = {name: _as_text(value) for name, value in given.items() if value is not None}
    return [f"--{name.replace('_', '-')}={text}" for name, text in texts.items()]


def published(config: Config) -> dict[str, str]:
    """Return the settings that administrators may see, as text: all of them, without what a URL may hide.

    Secrets are in the files that settings name, and in the environment of libraries. A setting that is None is left
    out.
    """
    texts = {name: _as_text(value) for name, value in asdict(config).items() if value is not None}
    return texts | {name: _without_secrets(texts[name]) for name in _URLS}


def _without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _as_url(store: str, folder: Path) -> str:
    """Return the URL of a store that is given as a URL or as a path, which may be relative to the working folder."""
    if not store or "\0" in store or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", store):
        return store
    return Path(os.path.abspath(folder / store)).as_uri()


def _rules(value: Any) -> Rules:
    rules = json.loads(value) if isinstance(value, str) else value
    if not isinstance(rules, dict):
        raise TypeError
    return rules


def _switch(value: Any) -> bool:
    """Parse a boolean, or one of the words on, off, true and false."""
    if isinstance(value, bool):
        return value
    return {"on": True, "true": True, "off": False, "false": False}[str(value).lower()]


def _names(value: Any) -> tuple[str, ...]:
    """Parse a list of names: as TOML or JSON has it, or with commas between them."""
    given = value
    if isinstance(value, str):
        given = json.loads(value) if value.startswith("[") else value.split(",") if value else []
    if not isinstance(given, list) or not all(isinstance(each, str) and each for each in given):
        raise TypeError
    return tuple(given)


def _integer(value: Any) -> int:
    """Parse an integer. Reject floats and booleans."""
    if isinstance(value, bool | float):
        raise TypeError
    return int(value)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"config: cannot read {str(path)!r}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config: expected TOML in {str(path)!r}: {error}") from None
    known = {each.name for each in fields(Config)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigError(f"{unknown[0]}: unknown setting in {str(path)!r}")
    return {name: _typed(name, value, str(path)) for name, value in given.items()}


def _typed(name: str, value: Any, source: str) -> Any:
    expected = next(each.type for each in fields(Config) if each.name == name)
    kinds: dict[Any, tuple[Callable[[Any], Any], str]] = {
        str: (str, "a str"),
        int: (_integer, "an int"),
        float: (float, "a float"),
        float | None: (float, "a float"),
        Rules: (_rules, "a JSON object"),
        bool: (_switch, "on or off"),
        tuple[str, ...]: (_names, "a list of names"),
    }
    convert, kind = kinds[expected]
    try:
        return convert(value)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise ConfigError(f"{name}: expected {kind}, got {value!r} from {source}") from None
