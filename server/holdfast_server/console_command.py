"""The console as a command of its own, and beside a server in the same process."""

import argparse
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import uvloop

from holdfast_server import logs, stdio
from holdfast_server.config import DEFAULT_LISTEN, Config, ConfigError
from holdfast_server.console.settings import DEFAULT_LISTEN as CONSOLE_LISTEN
from holdfast_server.console.settings import ConsoleError, Settings
from holdfast_server.lifecycle import stop_requested

if TYPE_CHECKING:
    from holdfast_server.console.listener import Listening

_TOKEN_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Beside:
    """The console of a server in the same process.

    Attributes:
        private_address: the address on which the server must serve the console, besides its own; "" for none.
        url: where browsers find the console; "" for none.
        stop: accepts no more browsers.

    """

    private_address: str = ""
    url: str = ""
    stop: Callable[[], None] = lambda: None


def add_command(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--target",
        default=environment.get("HOLDFAST_TARGET") or DEFAULT_LISTEN,
        help="the server, host:port, grpcs://host:port for TLS, or a folder, file:///path "
        f"(default: HOLDFAST_TARGET, else {DEFAULT_LISTEN})",
    )
    parser.add_argument(
        "--listen", default=CONSOLE_LISTEN, help=f"address for browsers, host:port (default {CONSOLE_LISTEN})"
    )
    parser.add_argument(
        "--allow-changes", action="store_true", help="let pages delete and fence; each change is confirmed"
    )
    parser.add_argument(
        "--trace-url-template", default="", metavar="URL", help="the URL of a trace, with {trace_id} in it"
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="name by which browsers reach the console, such as that of a proxy; may be repeated",
    )
    parser.add_argument("--tls-cert-file", default="", metavar="FILE", help="the console's certificate in PEM")
    parser.add_argument("--tls-key-file", default="", metavar="FILE", help="its private key in PEM")
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="allow plaintext to other machines, and let everybody who reaches the console have its rights",
    )
    parser.add_argument(
        "--tls-ca-file",
        default=environment.get("HOLDFAST_TLS_CA_FILE", ""),
        metavar="FILE",
        help="authorities of the target in PEM; turns TLS to it on (default: HOLDFAST_TLS_CA_FILE)",
    )
    parser.add_argument(
        "--tls-server-name",
        default=environment.get("HOLDFAST_TLS_SERVER_NAME", ""),
        metavar="NAME",
        help="name that the target's certificate must have (default: HOLDFAST_TLS_SERVER_NAME)",
    )
    parser.add_argument(
        "--client-cert-file", default="", metavar="FILE", help="certificate to present to the target in PEM"
    )
    parser.add_argument("--client-key-file", default="", metavar="FILE", help="its private key in PEM")
    parser.add_argument(
        "--token-file",
        default=environment.get("HOLDFAST_TOKEN_FILE", ""),
        metavar="FILE",
        help="a file with the token for callers who have not signed in (default: HOLDFAST_TOKEN_FILE, else the token "
        "HOLDFAST_TOKEN)",
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def run_console(arguments: argparse.Namespace) -> None:
    """Serve a console until a signal stops it.

    Raises:
        ConfigError: a setting is invalid, or the console is not installed.
        OSError: the address cannot be bound.

    """
    logs.configure(arguments.log_level)
    settings = _checked(
        lambda: Settings(
            target=arguments.target,
            listen=arguments.listen,
            allow_changes=arguments.allow_changes,
            trace_url_template=arguments.trace_url_template,
            tls_cert_file=arguments.tls_cert_file,
            tls_key_file=arguments.tls_key_file,
            insecure=arguments.insecure,
            token=_token(arguments.target, arguments.token_file, os.environ),
            is_open=_is_folder(arguments.target),
            ca_file=arguments.tls_ca_file,
            client_cert_file=arguments.client_cert_file,
            client_key_file=arguments.client_key_file,
            server_name=arguments.tls_server_name,
            token_insecure=arguments.insecure,
            hosts=tuple(arguments.host),
        )
    )
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with _listening(settings) as console:
        stop = stop_requested()
        line = logs.first_line(
            f"the console of {settings.target} is at {console.url}",
            address=console.address,
            url=console.url,
            target=settings.target,
        )
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except OSError:
            stdio.discard_stdout()
        await stop.wait()


@asynccontextmanager
async def beside_server(config: Config) -> AsyncIterator[Beside]:
    """Serve the console of a server in this process while the block runs, if its settings say so.

    The console reaches the server by a socket in a folder that only this user can open: the caller's token decides
    about rights, as on the server's own address.

    Raises:
        ConfigError: a setting is invalid, or the console is not installed.
        OSError: its address cannot be bound.

    """
    if not config.console_listen:
        yield Beside()
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        address = f"unix:{folder}/server"
        settings = _checked(
            lambda: Settings(
                target=address,
                listen=config.console_listen,
                shown_target=config.listen,
                allow_changes=config.console_allow_changes,
                trace_url_template=config.console_trace_url_template,
                tls_cert_file=config.tls_cert_file,
                tls_key_file=config.tls_key_file,
                insecure=config.insecure,
                is_open=not (config.tokens_file or config.oidc_issuer),
                hosts=config.console_hosts,
            )
        )
        async with _listening(settings) as console:
            yield Beside(address, console.url, console.stop)


@asynccontextmanager
async def _listening(settings: Settings) -> AsyncIterator["Listening"]:
    import holdfast  # noqa: PLC0415 - a server without a console does not need the memory

    listener = _listener()
    is_listening = False
    try:
        async with listener.listening(settings) as found:
            is_listening = True
            yield found
    except (ConsoleError, holdfast.HoldfastError, ImportError) as error:
        if is_listening:
            raise
        raise ConfigError(f"console: {error}") from None


def _listener() -> ModuleType:
    """Return the module that serves, whose requirements are optional.

    Raises:
        ConfigError: they are not installed.

    """
    try:
        from holdfast_server.console import listener  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"console: needs holdfast-server[console], which is not installed: pip install 'holdfast-server[console]' "
            f"({error})"
        ) from None
    return listener


def _checked(settings: Callable[[], Settings]) -> Settings:
    try:
        return settings()
    except ConsoleError as error:
        raise ConfigError(f"console: {error}") from None


def _is_folder(target: str) -> bool:
    return target.lower().startswith("file:/")


def _token(target: str, path: str, environment: Mapping[str, str]) -> str | Callable[[], str] | None:
    """Return the console's own token, or a function that reads it. A folder needs none."""
    if _is_folder(target):
        return None
    if not path:
        return environment.get("HOLDFAST_TOKEN") or None
    _read(path)
    # A token that was refused may have been replaced since.
    return lambda: _read(path)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_TOKEN_BYTES).decode(errors="replace").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"token-file: cannot read {path!r}: {reason}") from None
