"""obstore's errors are texts, which are read as what they mean. One that is not understood leaves the outcome open."""

import pytest
from holdfast_server.stores import obstore_errors
from holdfast_server.stores.answers import DENIED_BY_AZURE, DENIED_BY_S3, PreconditionFailedError, RangeError
from holdfast_server.stores.base import (
    NothingWrittenError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
    StoreSettingsError,
    StoreUnavailableError,
)
from obstore.exceptions import AlreadyExistsError, GenericError, PermissionDeniedError, UnauthenticatedError

PUT = "Error performing PUT http://host/b/k in 1.5ms"
LOGIN = "Generic MicrosoftAzure error: Error performing token request: Error performing POST https://login/x in 9ms"


def answer(status, code, kind=GenericError):
    body = f'<?xml version="1.0"?>\n<Error>\n  <Code>{code}</Code>\n  <Message>said</Message>\n</Error>' if code else ""
    return kind(
        f"Generic S3 error: {PUT} - Server returned non-2xx status code: {status} Said: {body}\n\nDebug source:\nx"
    )


def broken(kind, more=""):
    dump = f"Http(\n    HttpError {{\n        kind: {kind},\n        source: reqwest::Error {{ {more} }},\n    }}\n)"
    return GenericError(f"Generic S3 error: {PUT} - HTTP error: error sending request\n\nDebug source:\n{dump}")


def mapped(error, denied=DENIED_BY_S3):
    return obstore_errors.mapped(error, "somewhere", denied, "k")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer(412, "PreconditionFailed", AlreadyExistsError), PreconditionFailedError),
        (answer(409, "BlobAlreadyExists", AlreadyExistsError), PreconditionFailedError),
        (answer(409, "ConditionalRequestConflict", AlreadyExistsError), StoreUnavailableError),
        (answer(409, "", AlreadyExistsError), StoreUnavailableError),
        (answer(416, "InvalidRange"), RangeError),
        (answer(404, "NoSuchKey", FileNotFoundError), ObjectNotFoundError),
        (answer(404, "NoSuchBucket", FileNotFoundError), StoreAccessDeniedError),
        (answer(403, "RequestTimeTooSkewed", PermissionDeniedError), StoreAccessDeniedError),
        (answer(403, "", PermissionDeniedError), StoreAccessDeniedError),
        (answer(501, "NotImplemented"), StoreAccessDeniedError),
        (answer(503, "SlowDown"), StoreUnavailableError),
        (answer(500, "InternalError"), StoreUnavailableError),
        (answer(507, "XMinioStorageFull"), StoreUnavailableError),
        (GenericError(f"{PUT} - Received redirect without LOCATION, this normally"), StoreAccessDeniedError),
        (broken("Connect"), NothingWrittenError),
        (broken("Timeout"), StoreUnavailableError),
        (broken("Interrupted"), StoreUnavailableError),
        (broken("Unknown"), StoreUnavailableError),
        (broken("Connect", "InvalidCertificate(\n UnknownIssuer,\n)"), StoreSettingsError),
        (GenericError("a text of another version of the library"), StoreUnavailableError),
        (AlreadyExistsError("a text of another version of the library"), StoreUnavailableError),
        (UnauthenticatedError("External AWS credential provider"), StoreSettingsError),
    ],
)
def test_an_error_is_mapped_by_what_the_server_answered(error, kind):
    found = mapped(error)
    assert type(found) is kind


@pytest.mark.parametrize("code", DENIED_BY_AZURE)
def test_every_refusal_of_azure_is_explained_whatever_its_status(code):
    for status in (400, 403, 404, 409):
        found = mapped(answer(status, code), DENIED_BY_AZURE)
        assert type(found) is StoreAccessDeniedError
        assert str(found) == f"the store {DENIED_BY_AZURE[code]}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"{LOGIN} - Server returned non-2xx status code: 401 Unauthorized: <Code>x</Code>", StoreSettingsError),
        (f"{LOGIN} - Server returned non-2xx status code: 412 Said: ", StoreSettingsError),
        (f"{LOGIN} - Server returned non-2xx status code: 500 Said: ", NothingWrittenError),
        (f"{LOGIN} - HTTP error: error sending request", NothingWrittenError),
        ("Generic MicrosoftAzure error: Error reading federated token file ", StoreSettingsError),
    ],
)
def test_a_failed_login_is_never_taken_for_an_answer_of_the_store(text, kind):
    found = mapped(GenericError(text), DENIED_BY_AZURE)
    assert type(found) is kind
    assert "credentials" in str(found)


def test_the_detail_has_the_reason_of_a_broken_connection_and_not_the_dump():
    found = mapped(broken("Connect", 'Os { message: "Connection refused" }'))
    assert found.detail.endswith("HTTP error: error sending request: Connect: Connection refused")
    assert "Debug source" not in found.detail
    assert "host" not in str(found)
