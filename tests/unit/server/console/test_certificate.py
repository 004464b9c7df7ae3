"""The certificate of the console."""

import asyncio
import ssl

import pytest
from holdfast_server.console import certificate
from holdfast_server.console.certificate import kept_context
from holdfast_server.console.listener import listening
from holdfast_server.console.settings import ConsoleError, Settings

from tests.support.certificates import Authority, replace


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(certificate, "_CHECK_SECONDS", 0.01)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


def settings(tmp_path, pair):
    return Settings(
        (tmp_path / "store").as_uri(),
        listen="127.0.0.1:0",
        tls_cert_file=str(pair.cert_file),
        tls_key_file=str(pair.key_file),
    )


async def answered(address, ca_file):
    """Return the name in the certificate of a console, and the first line of an answer."""
    context = ssl.create_default_context(cafile=ca_file)
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    subject = writer.get_extra_info("peercert")["subject"]
    writer.write(b"GET /sign-in HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    line = (await reader.read()).splitlines()[0]
    writer.close()
    return dict(each[0] for each in subject)["commonName"], line


async def test_a_certificate_that_was_replaced_is_used_by_the_next_connection(tmp_path, authority):
    pair = authority.issue("first")
    async with listening(settings(tmp_path, pair)) as console:
        assert await answered(console.address, authority.ca_file) == ("first", b"HTTP/1.1 200 OK")
        replace(pair, authority.issue("second"))
        found = None
        while found != ("second", b"HTTP/1.1 200 OK"):
            found = await answered(console.address, authority.ca_file)


async def test_a_certificate_that_cannot_be_used_leaves_the_earlier_one(tmp_path, authority, caplog):
    pair, other = authority.issue("first"), authority.issue("other")
    async with listening(settings(tmp_path, pair)) as console:
        pair.cert_file.write_bytes(other.cert_file.read_bytes())
        while "a changed file is invalid" not in caplog.text:
            assert (await answered(console.address, authority.ca_file))[0] == "first"
        assert (await answered(console.address, authority.ca_file))[0] == "first"


async def test_a_first_certificate_that_cannot_be_used_is_named(tmp_path, authority):
    pair, other = authority.issue("first"), authority.issue("other")
    pair.cert_file.write_bytes(other.cert_file.read_bytes())
    with pytest.raises(ConsoleError, match=r"^tls_cert_file: expected a certificate in PEM"):
        async with kept_context(settings(tmp_path, pair)):
            pass
