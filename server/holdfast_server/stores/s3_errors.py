"""What the errors of the S3 library mean, by class: the one place that knows them.

The library has three kinds. Errors of the transport leave open whether a request arrived. Errors of credentials and of
settings are raised before anything is sent. Answers of the server are read by code and status.
"""

import os
import ssl

import aiohttp
from botocore import exceptions as of_botocore
from botocore.parsers import ResponseParserError

from holdfast_server.stores.base import (
    NothingWrittenError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
    StoreSettingsError,
    StoreUnavailableError,
)

_REFUSALS = {
    "AccessDenied": "refuses access",
    "AllAccessDisabled": "refuses access",
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "does not accept the secret key",
    "ExpiredToken": "says that the session token has expired",
    "InvalidToken": "does not accept the session token",
    "RequestTimeTooSkewed": "says that this machine's clock is wrong",
    "NoSuchBucket": "does not have the bucket",
    "InvalidBucketName": "does not accept the bucket's name",
    "PermanentRedirect": "says that the bucket is in another region",
    "AuthorizationHeaderMalformed": "says that the bucket is in another region",
    "IllegalLocationConstraintException": "says that the bucket is in another region",
}
_FINAL = {
    401: "refuses access",
    403: "refuses access",
    501: "does not know this kind of request: conditional writes need a store that implements If-None-Match",
}
_PASSING = {429: "throttles", 503: "throttles"}
_CREDENTIALS = (
    of_botocore.CredentialRetrievalError,
    of_botocore.MetadataRetrievalError,
    of_botocore.NoAuthTokenError,
    of_botocore.NoCredentialsError,
    of_botocore.PartialCredentialsError,
    of_botocore.RefreshWithMFAUnsupportedError,
    of_botocore.SSOError,
    of_botocore.TokenRetrievalError,
    of_botocore.UnknownCredentialError,
)
_TRANSPORT = (
    of_botocore.CapacityNotAvailableError,
    of_botocore.ChecksumError,
    of_botocore.ConnectionError,
    of_botocore.FlexibleChecksumError,
    of_botocore.HTTPClientError,
    of_botocore.IncompleteReadError,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
)
_OF_FILES = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# Calls by which the library gets credentials, before it sends the request itself.
_LOGINS = frozenset({"AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "GetRoleCredentials"})


class PreconditionFailedError(Exception):
    """The key has an object."""


class RangeError(Exception):
    """The range begins behind the object's end."""


_SIGNALS: dict[int, type[Exception]] = {412: PreconditionFailedError, 416: RangeError}

# What the library may raise, beside what is none of the store's business.
RAISED = (of_botocore.BotoCoreError, of_botocore.ClientError, ResponseParserError, aiohttp.ClientError, OSError)


def mapped(error: Exception, where: str, key: str = "", *, has_answered: bool = True) -> Exception:
    """Return the store's own error for one of the library's.

    Args:
        error: what the library raised.
        where: the endpoint and the bucket, for operators.
        key: the object that was asked for.
        has_answered: whether the server has answered any request. Before that no connection ever stood, so that a
            failed one proves that nothing was sent.

    """
    if isinstance(error, of_botocore.ClientError) and error.operation_name not in _LOGINS:
        return _of_response(error, where, key)
    cause = _cause(error)
    detail = _detail(where, cause)
    if isinstance(error, (*_CREDENTIALS, of_botocore.ClientError)):
        return StoreSettingsError("the server has no credentials for the store", detail=detail)
    if isinstance(cause, _OF_FILES):
        what = "a file that the server's settings for the store name cannot be read"
        # The library does not say which: it may be the bundle of certificates.
        bundle = "" if cause.filename else f"; AWS_CA_BUNDLE is {os.environ.get('AWS_CA_BUNDLE', '')!r}"
        return StoreSettingsError(what, detail=detail + bundle)
    if isinstance(cause, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        kind = StoreAccessDeniedError if has_answered else StoreSettingsError
        return kind("the server does not trust the store's certificate", detail=detail)
    if isinstance(error, (*_TRANSPORT, ResponseParserError)):
        unreached = StoreUnavailableError if has_answered else NothingWrittenError
        return unreached("the store cannot be reached, or the connection broke", detail=detail)
    return settings_error(error, where)


def settings_error(error: Exception, where: str) -> StoreSettingsError:
    """Return the error of settings that the library does not take."""
    return StoreSettingsError("the server's settings for the store are wrong", detail=_detail(where, error))


def _of_response(error: of_botocore.ClientError, where: str, key: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    detail = _detail(where, error)
    if code in _REFUSALS:
        return StoreAccessDeniedError(f"the store {_REFUSALS[code]}", detail=detail)
    if status in _SIGNALS:
        return _SIGNALS[status]()
    if status == 404:
        return ObjectNotFoundError(key)
    if status in _FINAL:
        return StoreAccessDeniedError(f"the store {_FINAL[status]}", detail=detail)
    return StoreUnavailableError(f"the store {_PASSING.get(status, f'answered with status {status}')}", detail=detail)


def _cause(error: BaseException) -> BaseException:
    """Return what lies at the bottom of an error that the library has wrapped."""
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
