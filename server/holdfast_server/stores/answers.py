"""Maps the refusals of a store's server to errors, by code and status, whatever library sent the request."""

import re
from collections.abc import Mapping

from holdfast_server.stores.base import ObjectNotFoundError, StoreAccessDeniedError, StoreUnavailableError

# What a code of a server means. The texts follow "the store".
DENIED_BY_S3 = {
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
DENIED_BY_AZURE = {
    "AuthenticationFailed": "does not accept the credentials, or this machine's clock is wrong",
    "AuthorizationFailure": "refuses access: the credentials or the network rules do not allow it",
    "AuthorizationPermissionMismatch": "refuses access: the identity lacks a role",
    "InvalidAuthenticationInfo": "does not accept the token",
    "KeyBasedAuthenticationNotPermitted": "does not allow access by account key",
    "NoAuthenticationInformation": "requires credentials",
    "AccountIsDisabled": "has disabled the account",
    "ContainerNotFound": "does not have the container",
    "ContainerDisabled": "has disabled the container",
    "ContainerBeingDeleted": "is deleting the container",
    "InvalidResourceName": "does not accept the container's name",
    "BlobImmutableDueToPolicy": "has a policy that forbids to change or delete objects",
}
_DENIED_BY_STATUS = {
    301: "says that the bucket is in another region",
    401: "refuses access",
    403: "refuses access",
    501: "does not support this kind of request: conditional writes need a store that implements If-None-Match",
}
# Codes of an answer with status 404, or of one to HEAD, that say that the object or upload is missing. Others do not
# prove it: MinIO answers 404 as well if the key that encrypts an object is missing.
_MISSING = frozenset(
    {"", "404", "NotFound", "NoSuchKey", "NoSuchUpload", "NoSuchVersion", "BlobNotFound", "ResourceNotFound"}
)
# 507 comes from a full MinIO. It does not prove that nothing was written: a library may have sent the request twice.
_TRANSIENT_BY_STATUS = {429: "throttles", 503: "throttles", 507: "has no room"}


class PreconditionFailedError(Exception):
    """The key has an object."""


class RangeError(Exception):
    """The range begins after the end of the object."""


_SIGNALS: dict[int, type[Exception]] = {412: PreconditionFailedError, 416: RangeError}


def of_answer(status: int, code: str, denied: Mapping[str, str], *, key: str, detail: str) -> Exception:
    """Return the error of an answer that is not a success.

    Args:
        status: the status of HTTP.
        code: the server's code in the body, "" if it has none.
        denied: the codes that deny access, such as DENIED_BY_S3.
        key: the key of the requested object.
        detail: the answer and where it came from, for operators.

    """
    why_denied = _why_denied(status, code, denied)
    if why_denied:
        return StoreAccessDeniedError(f"the store {why_denied}", detail=detail)
    # Azure's answer to If-None-Match. Any other conflict does not mean that the key has an object.
    if code == "BlobAlreadyExists":
        return PreconditionFailedError()
    if status in _SIGNALS:
        return _SIGNALS[status]()
    if status == 404 and code in _MISSING:
        return ObjectNotFoundError(key)
    return StoreUnavailableError(
        f"the store {_TRANSIENT_BY_STATUS.get(status, f'answered with status {status}')}", detail=detail
    )


def _why_denied(status: int, code: str, denied: Mapping[str, str]) -> str:
    """Return what an answer says of access, "" if it does not deny it."""
    if code in denied:
        return denied[code]
    if re.match(r"kms[.:]", code, re.IGNORECASE) and "throttl" not in code.lower():
        return "cannot use the key of its encryption"
    return _DENIED_BY_STATUS.get(status, "")
