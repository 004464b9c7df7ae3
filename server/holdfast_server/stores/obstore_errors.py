"""Maps the errors of obstore to those of the store.

obstore gives an error as text: a summary with the request and the status and body of the answer, then a dump that has
the kind of a failed connection. Both are read here and nowhere else; tests keep them against real servers.
"""

import re
from collections.abc import Mapping

from holdfast_server.stores.answers import of_answer
from holdfast_server.stores.base import NothingWrittenError, StoreSettingsError, StoreUnavailableError
from holdfast_server.stores.obstore_library import obstore

# The exceptions of the library that are mapped: a missing object is a FileNotFoundError.
RAISED = (obstore.exceptions.BaseError, OSError, NotImplementedError)

_DUMP = "\n\nDebug source:\n"
_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})|Bulk delete request failed .* \(code: (\d{3})\)")
_CODE = re.compile(r"<Code>([\w.:]+)</Code>")
# No connection was established, so that nothing was sent.
_NOT_CONNECTED = re.compile(r"HttpError \{\s+kind: Connect,")
_BARE_REDIRECT = "Received redirect without LOCATION"
_LOGIN = re.compile(
    r"Error performing token request|Error getting token response|'az account get-access-token'|"
    r"Failed to parse azure cli response|Error reading federated token file"
)


def mapped(error: Exception, where: str, denied: Mapping[str, str], key: str = "") -> Exception:
    """Return the store's error for an error of the library.

    Args:
        error: the library's error.
        where: the endpoint and the bucket, for operators.
        denied: the server's codes that deny access.
        key: the key of the requested object.

    """
    summary, _, dump = str(error).partition(_DUMP)
    detail = f"{where}: {summary}"
    found = _STATUS.search(summary)
    status = int(found[1] or found[2]) if found else 0
    if isinstance(error, obstore.exceptions.UnauthenticatedError) and not status:
        return StoreSettingsError("the server has no credentials for the store", detail=detail)
    login = _LOGIN.search(summary)
    if login:
        is_refused = 400 <= status < 500 or "federated token file" in login[0]
        return _of_login(detail + _reason(dump), is_refused=is_refused)
    if status:
        code = _CODE.search(summary)
        return of_answer(status, code[1] if code else "", denied, key=key, detail=detail)
    if _BARE_REDIRECT in summary:
        return of_answer(301, "", denied, key=key, detail=detail)
    detail += _reason(dump)
    if "InvalidCertificate(" in dump:
        return StoreSettingsError("the server does not trust the store's certificate", detail=detail)
    kind = NothingWrittenError if _NOT_CONNECTED.search(dump) else StoreUnavailableError
    return kind("the store cannot be reached, or the connection broke", detail=detail)


def settings_error(error: Exception, where: str) -> StoreSettingsError:
    """Return the error of settings that the library does not accept."""
    summary = str(error).partition(_DUMP)[0]
    return StoreSettingsError("the server's settings for the store are wrong", detail=f"{where}: {summary}")


def _of_login(detail: str, *, is_refused: bool) -> Exception:
    """Return the error of getting credentials, before anything was sent to the store."""
    if is_refused:
        return StoreSettingsError("the server has no credentials for the store", detail=detail)
    return NothingWrittenError("the server cannot get credentials for the store", detail=detail)


def _reason(dump: str) -> str:
    """Return what the dump says of a broken connection, which the summary lacks, as an addition to it."""
    certificate = re.search(r"InvalidCertificate\(\s*([\w\s(]+)", dump)
    if certificate:
        words = re.findall(r"\w+", certificate[1])
        return f": invalid certificate: {' '.join(words)}"
    said = re.search(r'message: "([^"]+)"', dump) or re.search(r'(?:error: |Error\(\s+)"([^"]+)"', dump)
    kind = re.search(r"HttpError \{\s+kind: (\w+),", dump)
    return "".join(f": {found[1]}" for found in (kind, said) if found)
