"""The certificate of the console, which is read again when its files change.

New content takes effect with the next connection. Content that cannot be used changes nothing and is reported in the
log, such as a key that does not match its certificate yet.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from holdfast_server.console.settings import ConsoleError, Settings
from holdfast_server.trust.watched_file import InvalidFileError, Watched, read, watched_content

_CHECK_SECONDS = 1.0


@asynccontextmanager
async def kept_context(settings: Settings) -> AsyncIterator[ssl.SSLContext]:
    """Keep the TLS of a console up to date with the files of its certificate while the block runs.

    Args:
        settings: the settings, with a certificate.

    Raises:
        ConsoleError: the certificate cannot be used.

    """
    names = (settings.tls_cert_file, settings.tls_key_file)

    def contents() -> tuple[bytes, ...]:
        return tuple(read(name) for name in names)

    def parse(_: tuple[bytes, ...]) -> ssl.SSLContext:
        # OpenSSL reads the files itself. If they have changed since they were read, the next look at them finds it.
        return _loaded(*names)

    async with AsyncExitStack() as stack:
        try:
            current: Watched[ssl.SSLContext] = await stack.enter_async_context(
                watched_content(names[0], contents, parse, check_seconds=_CHECK_SECONDS)
            )
        except InvalidFileError as error:
            raise ConsoleError(
                "tls_cert_file: expected a certificate in PEM, and in tls_key_file its key without a password, got "
                f"{names[0]!r} and {names[1]!r}: {error}"
            ) from None
        first = current.value

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = current.value

        # Called by each handshake, whether the browser names a server or not.
        first.sni_callback = choose
        yield first


def _loaded(cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return the TLS with a certificate.

    Raises:
        InvalidFileError: it cannot be used.

    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without the password OpenSSL would read one from the terminal.
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as error:
        raise InvalidFileError(str(error)) from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")
