"""The authentication that the settings ask for: static tokens, OIDC tokens, client certificates, or none."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from holdfast_server.config import Config, ConfigError
from holdfast_server.trust import tokens
from holdfast_server.trust.authentication import Authentication, Credentials, Everybody, Issuer
from holdfast_server.trust.principal import ANONYMOUS
from holdfast_server.trust.watched_file import InvalidFileError, watched


@asynccontextmanager
async def open_authentication(config: Config) -> AsyncIterator[Authentication]:
    """Open the authentication of a server, and keep it up to date while the block runs.

    Raises:
        ConfigError: the file of tokens cannot be used.

    """
    issuers: list[Issuer] = []
    async with AsyncExitStack() as stack:
        if config.tokens_file:
            issuers.append(await stack.enter_async_context(_static_tokens(config.tokens_file)))
        if config.oidc_issuer:
            issuers.append(await stack.enter_async_context(_oidc_tokens(config)))
        if issuers or config.requires_client_certificates:
            yield Credentials(issuers, takes_certificates=config.requires_client_certificates)
        else:
            yield Everybody(ANONYMOUS)


@asynccontextmanager
async def _oidc_tokens(config: Config) -> AsyncIterator[Issuer]:
    # A server without OIDC does not need the memory that the libraries take.
    from holdfast_server.trust.oidc import OidcRules, OidcTokens  # noqa: PLC0415
    from holdfast_server.trust.signing_keys import fetching  # noqa: PLC0415

    rules = OidcRules(config.oidc_issuer, config.oidc_audience, config.oidc_algorithms, config.oidc_groups_claim)
    async with fetching(config.oidc_issuer, config.oidc_jwks_url, config.oidc_algorithms) as keys:
        yield OidcTokens(rules, keys)


@asynccontextmanager
async def _static_tokens(path: str) -> AsyncIterator[Issuer]:
    is_open = False
    try:
        async with watched(path, tokens.reader(path), check_seconds=tokens.CHECK_SECONDS) as file:
            is_open = True
            yield tokens.StaticTokens(file)
    except InvalidFileError as error:
        if is_open:
            raise
        raise ConfigError(f"tokens_file: {path!r}: {error}") from None
