"""The command line of `holdfast-server`: each command takes the settings that it uses, and no others."""

import argparse
from dataclasses import fields

from holdfast_server import SERVER_VERSION
from holdfast_server.config import DEFAULT_LISTEN, Config

UPKEEP = ("gc", "fsck")

_SETTINGS = {
    "listen": "address to serve on, host:port",
    "store": "where checkpoints lie: a path, file:///path or s3://bucket/prefix",
    "workers": "how many processes serve, on one port",
    "drain_seconds": "how long calls in progress may go on after SIGTERM",
    "connections": "how many connections may be open",
    "keepalive_seconds": "after how long a silent connection is asked whether its caller is still there",
    "calls_in_flight": "how many calls may run at once",
    "bytes_in_flight": "how many bytes of payload the calls in flight may hold in memory",
    "longest_call_seconds": "how long a call may take",
    "inline_limit_bytes": "how many bytes of payload a commit marker may hold",
    "payload_limit_bytes": "how many bytes a streamed payload may have",
    "cache_bytes": "how many bytes of memory commit markers may take",
    "grace_seconds": "the grace before dead objects are removed; set when the store is made, another one is reported",
    "gc_interval_seconds": "how often to collect garbage, 0 for never",
    "retention": 'what namespaces keep, such as {"*": {"keep_last": 10, "max_age_seconds": 86400}}',
    "log_level": "the least level of what is logged: debug, info, warning or error",
}
_COMMANDS = {
    "serve": "serve until SIGTERM",
    "config": "print the configuration in force",
    "gc": "collect garbage once: apply retention, remove what has been dead for the grace",
    "fsck": "check every marker and every part of the store",
}
_USED = {
    "gc": ("store", "cache_bytes", "grace_seconds", "retention", "log_level"),
    "fsck": ("store", "cache_bytes", "log_level"),
}


def parse(given: list[str] | None = None) -> argparse.Namespace:
    """Return the command and its arguments; settings that are not given are None."""
    parser = _Parser(prog="holdfast-server", description="The checkpoint store for workflow engines.")
    parser.add_argument("--version", action="version", version=f"holdfast-server {SERVER_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    health = commands.add_parser("health", help="tell by the exit code whether a server serves")
    health.add_argument("--target", default=DEFAULT_LISTEN, help=f"the server, host:port ({DEFAULT_LISTEN})")
    health.add_argument("--ready", action="store_true", help="ask whether its store works as well")
    for name, about in _COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--config", help="a TOML file with settings")
        for setting in _USED.get(name, tuple(each.name for each in fields(Config))):
            command.add_argument(f"--{setting.replace('_', '-')}", dest=setting, help=_SETTINGS[setting])
        if name in UPKEEP:
            command.add_argument("--after", default="", help="go on from a position that an earlier run reported")
        if name == "gc":
            command.add_argument("--dry-run", action="store_true", help="only report what would be removed")
            command.add_argument(
                "--shorter-grace-seconds",
                help="a shorter grace for this run, where a full disk cannot wait; calls that began before it may fail",
            )
        if name == "fsck":
            command.add_argument("--repair", action="store_true", help="repair what can be repaired")
            command.add_argument("--quick", action="store_true", help="look for parts without reading them")
    return parser.parse_args(given)


class _Parser(argparse.ArgumentParser):
    """One whose options are never abbreviated: a new one must not change what an old script means."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})  # type: ignore[arg-type]
