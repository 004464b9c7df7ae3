"""The command `holdfast-server`: parses the command line and runs the command."""

import argparse
import asyncio
import ctypes
import gc
import json
import logging
import os
import signal
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import uvloop

from holdfast_server import config_sources, location, logs, stdio
from holdfast_server.archive_commands import run_backup, run_export, run_import
from holdfast_server.arguments import MAC_KEY_COMMAND, STORE_COMMANDS, TOKEN_COMMAND, parse
from holdfast_server.config import Config, ConfigError
from holdfast_server.console_command import beside_server, run_console
from holdfast_server.descriptors import raise_limit
from holdfast_server.exports import Exports, exporting
from holdfast_server.health import NotServingError, ProbeTLS, require_serving
from holdfast_server.keyed import mac_keys, open_keyed
from holdfast_server.lifecycle import serving, stop_requested
from holdfast_server.location import FolderLocation
from holdfast_server.mac_key_commands import create_key, list_keys, remove_key, use_key
from holdfast_server.open_store import open_store
from holdfast_server.policy_command import run_policy_check
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.manifest import NoStoreError
from holdfast_server.protocol.log.log import Log
from holdfast_server.store_commands import run_add_macs, run_fsck, run_gc, run_upgrade, shorter_grace
from holdfast_server.stores.base import StoreError
from holdfast_server.token_commands import create_token, list_tokens, remove_tokens
from holdfast_server.trust.watched_file import InvalidFileError
from holdfast_server.workers import supervise

_LOG = logging.getLogger("holdfast.server")
# Set in the environment of a worker, so that it serves and does not start workers itself.
_WORKER = "HOLDFAST_WORKER"
_USAGE = 2
# Time after the drain for the last spans and metrics. The process ends within a second after the drain.
_EXPORT_SECONDS = 0.7
# Before a target, it means TLS, as for clients.
_TLS_SCHEME = "grpcs://"
_ARCHIVE_COMMANDS = {"export": run_export, "import": run_import, "backup": run_backup}


def main() -> None:
    """Run the command."""
    stdio.reserve_descriptors()
    arguments = parse()
    try:
        if arguments.command == "policy":
            run_policy_check(arguments.file, arguments.principal, arguments.namespace)
            return
        if arguments.command == "console":
            run_console(arguments)
            return
        config = config_sources.load(vars(arguments), os.environ, Path.cwd())
        if arguments.command == "health":
            target = arguments.target.removeprefix(_TLS_SCHEME)
            require_serving(target, ready=arguments.ready, tls=_tls_of_probe(config, arguments))
            return
    except (ConfigError, InvalidFileError, NotServingError, OSError) as error:
        _fail(arguments, str(error))
    logs.configure(config.log_level)
    _warn_of_misspellings()
    _bound_memory()
    raise_limit()
    try:
        if arguments.command in _FILE_COMMANDS:
            code = _FILE_COMMANDS[arguments.command](config, arguments)
            sys.stdout.flush()
            sys.exit(code)
        if arguments.command in STORE_COMMANDS:
            _end_at_interrupt()
            run = _ARCHIVE_COMMANDS.get(arguments.command, _run_store_command)
            code = uvloop.run(run(config, arguments))
            sys.stdout.flush()
            sys.exit(code)
        config.require_protected_listen()
        if config.workers > 1 and _WORKER not in os.environ:
            sys.exit(_supervise(config))
        with exporting(config.metrics_listen) as exports:
            uvloop.run(_serve(config, exports))
    except HoldfastError as error:
        _fail(arguments, f"{error.reason}: {error.message}")
    except (ConfigError, InvalidFileError) as error:
        _fail(arguments, str(error))
    except NoStoreError as error:
        _fail(arguments, f"{config.store}: {error}")
    except StoreError as error:
        _fail(arguments, f"{config.store}: {error} ({error.detail})")
    except OSError as error:
        _fail(arguments, str(error))


def _warn_of_misspellings() -> None:
    for ignored, likely in config_sources.misspelled(os.environ).items():
        _LOG.warning("a variable of the environment is ignored", extra={"variable": ignored, "likely": likely})


def _fail(arguments: argparse.Namespace, message: str) -> NoReturn:
    """Print an error and end the process with the exit code of a failed command."""
    stdio.write_stderr(f"holdfast-server: {message}")
    try:
        sys.stdout.flush()
    except OSError:
        stdio.discard_stdout()
    # Exit code 1 of a command that checks the store reports damage.
    sys.exit(_USAGE if arguments.command in STORE_COMMANDS else 1)


def _end_at_interrupt() -> None:
    """Let Ctrl-C end a command as SIGTERM does: at once, also while a thread reads a pipe. A store survives that."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _tls_of_probe(config: Config, arguments: argparse.Namespace) -> ProbeTLS | None:
    """Return how `health` uses TLS; None for plaintext."""
    if not (config.tls_cert_file or arguments.tls_ca_file or arguments.target.startswith(_TLS_SCHEME)):
        return None
    presents = bool(arguments.tls_cert_file) or config.requires_client_certificates
    return ProbeTLS(
        ca_file=arguments.tls_ca_file or "",
        cert_file=config.tls_cert_file if presents else "",
        key_file=config.tls_key_file if presents else "",
    )


def _bound_memory() -> None:
    """Let threads share their heaps, so that a payload's freed memory can be used again by any thread."""
    # M_ARENA_MAX of glibc. Other C libraries have neither the function nor per-thread heaps.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-8, 2)


def _supervise(config: Config) -> int:
    os.environ[_WORKER] = "1"
    # They share one address, on which the parent listens, and have each their own for metrics. One has the console.
    configs = [replace(config, metrics_listen=address, console_listen="") for address in config.metrics_addresses]
    configs[0] = replace(configs[0], console_listen=config.console_listen)
    commands = [
        ["serve", *(flag for flag in config_sources.as_flags(each) if not flag.startswith("--listen="))]
        for each in configs
    ]
    return asyncio.run(supervise(config.listen, commands, drain_seconds=config.drain_seconds))


async def _serve(config: Config, exports: Exports) -> None:
    async with (
        open_store(
            config.store,
            is_traced=exports.is_enabled,
            s3=config.s3_settings,
            group=config.folder_group_number,
        ) as store,
        beside_server(config) as console,
        serving(
            config,
            store,
            on_open=partial(exports.observe, folder=_folder(config)),
            private_address=console.private_address,
        ) as port,
    ):
        host = config.listen.rpartition(":")[0]
        stop = stop_requested()
        _announce(f"{host}:{port}", config.store, metrics_address=exports.metrics_address, console_url=console.url)
        # Objects that exist now live as long as the process: exclude them from garbage collections.
        gc.freeze()
        if _WORKER in os.environ:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
        await stop.wait()
        console.stop()
        exports.end_within(config.drain_seconds + _EXPORT_SECONDS)


def _folder(config: Config) -> Path | None:
    """Return the folder of the store; None if it is elsewhere."""
    found = location.parse(config.store)
    return found.path if isinstance(found, FolderLocation) else None


def _announce(address: str, store: str, **more: str) -> None:
    """Print the first line. The server continues if stdout cannot be written."""
    message = f"holdfast-server listens on {address}, store {store}"
    given = {name: value for name, value in more.items() if value}
    line = logs.first_line(message, address=address, store=store, **given)
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError as error:
        stdio.discard_stdout()
        _LOG.warning("stdout cannot be written", extra={"error": str(error)})


def _run_token_command(config: Config, arguments: argparse.Namespace) -> int:
    if not config.tokens_file:
        raise ConfigError("tokens_file: expected the file of tokens, as --tokens-file or in the settings")
    if arguments.action == "create":
        return create_token(config.tokens_file, arguments.name, arguments.expires_in)
    if arguments.action == "list":
        return list_tokens(config.tokens_file)
    return remove_tokens(config.tokens_file, arguments.name, arguments.token_id)


def _run_mac_key_command(config: Config, arguments: argparse.Namespace) -> int:
    if not config.mac_keys_file:
        raise ConfigError("mac_keys_file: expected the file of keys, as --mac-keys-file or in the settings")
    if arguments.action == "create":
        return create_key(config.mac_keys_file)
    if arguments.action == "list":
        return list_keys(config.mac_keys_file)
    if arguments.action == "use":
        return use_key(config.mac_keys_file, arguments.id)
    return remove_key(config.mac_keys_file, arguments.id)


def _print_config(config: Config, arguments: argparse.Namespace) -> int:
    sys.stdout.write(json.dumps(asdict(config), indent=2) + "\n")
    return 0


# Commands that read or write settings, and no store.
_FILE_COMMANDS = {"config": _print_config, TOKEN_COMMAND: _run_token_command, MAC_KEY_COMMAND: _run_mac_key_command}


async def _run_store_command(config: Config, arguments: argparse.Namespace) -> int:
    async with open_store(config.store, is_traced=False, must_exist=True, s3=config.s3_settings) as store:
        if arguments.command == "upgrade":
            return await run_upgrade(store, mac_keys(config.mac_keys_file))
        if arguments.command == "add-macs":
            return await run_add_macs(store, mac_keys(config.mac_keys_file), first=arguments.first)
        keyed_store, layout = await open_keyed(store, config, must_exist=True)
        grace_seconds = layout.grace_seconds
        if arguments.command == "gc" and arguments.shorter_grace_seconds is not None:
            grace_seconds = shorter_grace(arguments.shorter_grace_seconds, grace_seconds)
        log = Log(
            keyed_store,
            cache_bytes=config.cache_bytes,
            grace_seconds=grace_seconds,
            marker_version=layout.marker_version,
        )
        if arguments.command == "gc":
            return await run_gc(log, config.policies, after=arguments.after, dry_run=arguments.dry_run)
        return await run_fsck(log, after=arguments.after, repair=arguments.repair, quick=arguments.quick)


if __name__ == "__main__":
    main()
