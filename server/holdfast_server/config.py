"""Configuration: one frozen dataclass, filled from flags, then `HOLDFAST_*`, then a TOML file, then defaults."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

DEFAULT_LISTEN = "127.0.0.1:7433"


class ConfigError(Exception):
    """A setting is wrong. The message names it and where it came from."""


@dataclass(frozen=True, slots=True)
class Config:
    """What is in force.

    Attributes:
        listen: address to serve on, host:port; port 0 takes a free one.
        store: where checkpoints lie, `file:///path` or `s3://bucket/prefix`.
        workers: how many processes serve, on one port.
        drain_seconds: how long calls in progress may go on after SIGTERM.
        calls_in_flight: how many calls may run at once; more are refused with OVERLOADED.
        bytes_in_flight: how many bytes of payload the calls in flight may hold in memory together; more calls are
            refused with OVERLOADED.
        longest_call_seconds: how long a call may take, whatever its deadline.
        inline_limit_bytes: how many bytes of payload a commit marker may hold.
        payload_limit_bytes: how many bytes a streamed payload may have.
        cache_bytes: how many bytes of commit markers are kept in memory.

    """

    listen: str = DEFAULT_LISTEN
    store: str = ""
    workers: int = 1
    drain_seconds: float = 10.0
    calls_in_flight: int = 256
    bytes_in_flight: int = 1 << 30
    longest_call_seconds: float = 3600.0
    inline_limit_bytes: int = 64 << 10
    payload_limit_bytes: int = 64 << 30
    cache_bytes: int = 32 << 20

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            ConfigError: one is wrong.

        """
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"listen: {self.listen!r} is no host:port")
        if not re.match(r"file:///.|s3://[^/]", self.store):
            raise ConfigError(f"store: {self.store!r} is neither file:///path nor s3://bucket/prefix")
        for name, lowest, highest in (
            ("workers", 1, 256),
            ("drain_seconds", 0, 3600),
            ("calls_in_flight", 1, 100_000),
            ("bytes_in_flight", 1 << 20, 1 << 40),
            ("longest_call_seconds", 1, 86_400),
            ("inline_limit_bytes", 0, 1 << 20),
            ("payload_limit_bytes", 1 << 20, 1 << 42),
            ("cache_bytes", 1 << 20, 1 << 36),
        ):
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ConfigError(f"{name}: {value} is not within {lowest} to {highest}")


def load(flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path) -> Config:
    """The configuration in force.

    Args:
        flags: settings from the command line; None for those not given. `config` names a TOML file.
        environment: the environment; `HOLDFAST_CONFIG` names a TOML file.
        folder: where the default store lies.

    Raises:
        ConfigError: a setting is wrong or unknown, or the file cannot be read.

    """
    settings: dict[str, Any] = {"store": (folder / "holdfast-data").resolve().as_uri()}
    path = flags.get("config") or environment.get("HOLDFAST_CONFIG")
    if path:
        settings |= _from_file(Path(path))
    for field in fields(Config):
        from_environment = environment.get(f"HOLDFAST_{field.name.upper()}")
        if from_environment is not None:
            settings[field.name] = _typed(field.name, from_environment, f"HOLDFAST_{field.name.upper()}")
        if flags.get(field.name) is not None:
            settings[field.name] = _typed(field.name, flags[field.name], f"--{field.name.replace('_', '-')}")
    return Config(**settings)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text())
    except OSError:
        raise ConfigError(f"config: cannot read {str(path)!r}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigError(f"config: {str(path)!r} is no TOML") from None
    known = {field.name for field in fields(Config)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigError(f"{unknown[0]}: unknown setting in {str(path)!r}")
    return {name: _typed(name, value, str(path)) for name, value in given.items()}


def _typed(name: str, value: Any, source: str) -> Any:
    wanted = next(field.type for field in fields(Config) if field.name == name)
    convert = {str: str, int: int, float: float}[wanted]  # type: ignore[index]
    try:
        return convert(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: {value!r} from {source} is no {convert.__name__}") from None
