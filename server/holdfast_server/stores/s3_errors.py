"""Maps the errors of the S3 library to those of the store.

The library has three kinds of errors:
- errors of the transport: whether the request arrived is unknown;
- errors of credentials and settings: raised before anything is sent;
- answers of the server: distinguished by code and status, see `answers`.
"""

import os
import ssl

import aiohttp
from botocore import exceptions as botocore_errors
from botocore.parsers import ResponseParserError

from holdfast_server.stores.answers import DENIED_BY_S3, of_answer
from holdfast_server.stores.base import (
    NothingWrittenError,
    StoreAccessDeniedError,
    StoreSettingsError,
    StoreUnavailableError,
)

_CREDENTIALS = (
    botocore_errors.CredentialRetrievalError,
    botocore_errors.MetadataRetrievalError,
    botocore_errors.NoAuthTokenError,
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.RefreshWithMFAUnsupportedError,
    botocore_errors.SSOError,
    botocore_errors.TokenRetrievalError,
    botocore_errors.UnknownCredentialError,
)
_TRANSPORT = (
    botocore_errors.CapacityNotAvailableError,
    botocore_errors.ChecksumError,
    botocore_errors.ConnectionError,
    botocore_errors.FlexibleChecksumError,
    botocore_errors.HTTPClientError,
    botocore_errors.IncompleteReadError,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
)
_FILE_ERRORS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# Operations that get credentials, before the request itself is sent.
_LOGIN_OPERATIONS = frozenset({"AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "GetRoleCredentials"})


# The exceptions of the library that are mapped.
RAISED = (botocore_errors.BotoCoreError, botocore_errors.ClientError, ResponseParserError, aiohttp.ClientError, OSError)


def mapped(error: Exception, where: str, key: str = "", *, has_answered: bool = True) -> Exception:
    """Return the store's error for an error of the library.

    Args:
        error: the library's error.
        where: the endpoint and the bucket, for operators.
        key: the key of the requested object.
        has_answered: whether the server has answered any request. If not, no connection was ever established, and a
            failed one proves that nothing was sent.

    """
    if isinstance(error, botocore_errors.ClientError) and error.operation_name not in _LOGIN_OPERATIONS:
        return _of_response(error, where, key)
    cause = _cause(error)
    detail = _detail(where, cause)
    if isinstance(error, (*_CREDENTIALS, botocore_errors.ClientError)):
        return StoreSettingsError("the server has no credentials for the store", detail=detail)
    if isinstance(cause, _FILE_ERRORS):
        message = "a file that the server's settings for the store name cannot be read"
        # The library may not name the file. It may be the bundle of certificates.
        bundle = "" if cause.filename else f"; AWS_CA_BUNDLE is {os.environ.get('AWS_CA_BUNDLE', '')!r}"
        return StoreSettingsError(message, detail=detail + bundle)
    if isinstance(cause, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        kind = StoreAccessDeniedError if has_answered else StoreSettingsError
        return kind("the server does not trust the store's certificate", detail=detail)
    if isinstance(error, (*_TRANSPORT, ResponseParserError)):
        unavailable = StoreUnavailableError if has_answered else NothingWrittenError
        return unavailable("the store cannot be reached, or the connection broke", detail=detail)
    return settings_error(error, where)


def settings_error(error: Exception, where: str) -> StoreSettingsError:
    """Return the error of settings that the library does not accept."""
    return StoreSettingsError("the server's settings for the store are wrong", detail=_detail(where, error))


def _of_response(error: botocore_errors.ClientError, where: str, key: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return of_answer(status, code, DENIED_BY_S3, key=key, detail=_detail(where, error))


def _cause(error: BaseException) -> BaseException:
    """Return the innermost error that the library has wrapped."""
    seen = error
    while True:
        kwargs = getattr(seen, "kwargs", {})
        inner = kwargs.get("error") if isinstance(kwargs, dict) else None
        if not isinstance(inner, BaseException):
            inner = getattr(seen, "os_error", None) or getattr(seen, "certificate_error", None)
        if not isinstance(inner, BaseException):
            return seen
        if isinstance(seen, aiohttp.ClientConnectorCertificateError):
            return seen
        seen = inner


def _detail(where: str, error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{where}: {text}"
