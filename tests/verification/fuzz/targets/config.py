"""Configuration: any text gives valid settings, or an error that names the setting."""

import math
import tempfile
from pathlib import Path

from holdfast_server.config import Config, ConfigError
from holdfast_server.config_sources import load

from tests.verification.fuzz.reader import Reader

_NAMES = [*Config.__dataclass_fields__]


def check(data: bytes) -> None:
    reader = Reader(data)
    source = reader.below(3)
    name = reader.choice(_NAMES)
    raw = reader.rest()
    text = raw.decode(errors="surrogateescape")
    try:
        if source == 0:
            config = load({name: text}, {}, Path("/here"))
        elif source == 1:
            config = load({}, {f"HOLDFAST_{name.upper()}": text}, Path("/here"))
        else:
            with tempfile.NamedTemporaryFile() as file:
                file.write(raw)
                file.flush()
                config = load({"config": file.name}, {}, Path("/here"))
    except ConfigError as error:
        assert ": " in str(error)
        return
    for each in config.policies.by_namespace.values():
        assert each.keep_last is None or each.keep_last >= 1
        assert each.max_age_seconds is None or math.isfinite(1e9 - each.max_age_seconds)
    assert int(config.listen.rpartition(":")[2]) <= 65535
    assert "\0" not in config.store
