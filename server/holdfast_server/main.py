"""The command `holdfast-server`: the one module that knows every part and wires them together."""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote, urlsplit

import uvloop

from holdfast_server import config as configuration
from holdfast_server import logs
from holdfast_server.config import DEFAULT_LISTEN, Config, ConfigError
from holdfast_server.descriptors import raise_limit
from holdfast_server.health import is_serving
from holdfast_server.lifecycle import serving, told_to_stop
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.layout import open_layout
from holdfast_server.protocol.log import Log
from holdfast_server.stores.base import ObjectStore, StoreError
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.s3 import S3Store
from holdfast_server.stores.traced import TracedStore
from holdfast_server.telemetry import exporting
from holdfast_server.upkeep import run_fsck, run_gc
from holdfast_server.workers import supervise

# Tells a process that it is one of several, and not the one that starts them.
_WORKER = "HOLDFAST_WORKER"

_FLAGS = {
    "listen": "address to serve on, host:port",
    "store": "where checkpoints lie: file:///path or s3://bucket/prefix",
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
    "grace_seconds": "how long what is dead stays in a store, told when the store is made",
    "gc_interval_seconds": "how often to collect garbage, 0 for never",
    "retention": 'what namespaces keep, such as {"*": {"keep_last": 10, "max_age_seconds": 86400}}',
}
_COMMANDS = {
    "serve": "serve until SIGTERM",
    "config": "print the configuration in force",
    "gc": "collect garbage once: apply retention, remove what has been dead for the grace",
    "fsck": "check every marker and every part of the store",
}
_UPKEEP = ("gc", "fsck")


def main() -> None:
    """Run the command."""
    arguments = _parser().parse_args()
    if arguments.command == "health":
        sys.exit(0 if is_serving(arguments.target) else 1)
    try:
        config = configuration.load(vars(arguments), os.environ, Path.cwd())
    except ConfigError as error:
        sys.exit(f"holdfast-server: {error}")
    if arguments.command == "config":
        sys.stdout.write(json.dumps(asdict(config), indent=2) + "\n")
        return
    logs.configure()
    _bound_memory()
    raise_limit()
    try:
        if arguments.command in _UPKEEP:
            sys.exit(uvloop.run(_keep_in_order(config, arguments)))
        if config.workers > 1 and _WORKER not in os.environ:
            sys.exit(_supervise(config))
        with exporting() as is_traced:
            uvloop.run(_serve(config, is_traced=is_traced))
    except HoldfastError as error:
        _fail(arguments, f"{error.reason}: {error.message}")
    except (StoreError, OSError) as error:
        _fail(arguments, str(error))


def _fail(arguments: argparse.Namespace, message: str) -> None:
    sys.stderr.write(f"holdfast-server: {message}\n")
    # Of a command that looks for damage, 1 says that it found some.
    sys.exit(2 if arguments.command in _UPKEEP else 1)


def _bound_memory() -> None:
    """Let threads share their heaps: each with its own would keep freed blocks of payload that others could use."""
    # glibc's M_ARENA_MAX; other C libraries have no such function and no such heaps.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-8, 2)


def _supervise(config: Config) -> int:
    os.environ[_WORKER] = "1"
    texts = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in asdict(config).items()}
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in texts.items() if name != "listen"]
    arguments = ["serve", *settings]
    return asyncio.run(supervise(config.workers, config.listen, arguments, drain_seconds=config.drain_seconds))


async def _serve(config: Config, *, is_traced: bool) -> None:
    async with _open_store(config.store, is_traced=is_traced) as store, serving(config, store) as port:
        host = config.listen.rpartition(":")[0]
        sys.stdout.write(f"holdfast-server listens on {host}:{port}, store {config.store}\n")
        sys.stdout.flush()
        # What is loaded by now stays: the collector need not look at it again.
        gc.freeze()
        stop = told_to_stop()
        if _WORKER in os.environ:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
        await stop.wait()


async def _keep_in_order(config: Config, arguments: argparse.Namespace) -> int:
    async with _open_store(config.store, is_traced=False) as store:
        grace_seconds = await open_layout(store, grace_seconds=config.grace_seconds)
        log = Log(store, cache_bytes=config.cache_bytes, grace_seconds=grace_seconds)
        if arguments.command == "gc":
            return await run_gc(log, config.policies, after=arguments.after, dry_run=arguments.dry_run)
        return await run_fsck(log, after=arguments.after, repair=arguments.repair, quick=arguments.quick)


@asynccontextmanager
async def _open_store(url: str, *, is_traced: bool) -> AsyncIterator[ObjectStore]:
    """The store that a URL names. For S3, endpoint, region and credentials come from the AWS variables."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        async with FileStore.open(Path(unquote(parts.path))) as folder:
            yield TracedStore(folder) if is_traced else folder
        return
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    async with S3Store.open(parts.netloc, parts.path, endpoint_url=endpoint) as store:
        await store.probe()
        yield TracedStore(store, bucket=parts.netloc, prefix=parts.path) if is_traced else store


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast-server", description="The checkpoint store for workflow engines.")
    commands = parser.add_subparsers(dest="command", required=True)
    health = commands.add_parser("health", help="tell by the exit code whether a server serves")
    health.add_argument("--target", default=DEFAULT_LISTEN, help=f"the server, host:port ({DEFAULT_LISTEN})")
    for name, about in _COMMANDS.items():
        command = commands.add_parser(name, help=about)
        command.add_argument("--config", help="a TOML file with settings")
        for setting, meaning in _FLAGS.items():
            command.add_argument(f"--{setting.replace('_', '-')}", dest=setting, help=meaning)
        if name in _UPKEEP:
            command.add_argument("--after", default="", help="go on behind a position that an earlier run told")
        if name == "gc":
            command.add_argument("--dry-run", action="store_true", help="only tell what would go")
        if name == "fsck":
            command.add_argument("--repair", action="store_true", help="mend what can be mended")
            command.add_argument("--quick", action="store_true", help="look for parts without reading them")
    return parser


if __name__ == "__main__":
    main()
