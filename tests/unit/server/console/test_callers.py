"""Whose rights a page has, and how a caller signs in."""

import pytest
from holdfast_server.config import Config
from holdfast_server.console import forms
from holdfast_server.console.clients import Clients
from holdfast_server.console.sessions import SESSION_SECONDS, Sessions
from holdfast_server.console.settings import Settings
from holdfast_server.lifecycle import serving
from holdfast_server.stores.file import FileStore

from tests.support.certificates import Authority
from tests.support.console_pages import browsing
from tests.support.tokens_file import TokensFile


@pytest.fixture
def tokens(tmp_path):
    return TokensFile(tmp_path / "tokens")


@pytest.fixture
async def target(tmp_path, tokens):
    folder = tmp_path / "store"
    async with FileStore.open(folder) as store:
        config = Config(listen="127.0.0.1:0", store=folder.as_uri(), tokens_file=str(tokens.path), drain_seconds=0)
        async with serving(config, store) as port:
            yield f"127.0.0.1:{port}"


@pytest.fixture
async def browser(target):
    async with browsing(target) as browser:
        yield browser


async def sign_in(browser, token, **fields):
    page = (await browser.get("/sign-in")).text
    return await browser.submit("/sign-in", page, token=token, **fields)


async def test_a_caller_without_a_token_is_led_to_the_sign_in_and_back(browser, tokens):
    answer = await browser.get("/n/n?prefix=a")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fn%2Fn%3Fprefix%3Da"

    answer = await sign_in(browser, tokens.ci, next="/n/n?prefix=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/n/n?prefix=a")
    assert (await browser.get("/n/n?prefix=a")).status_code == 200


async def test_the_cookie_of_a_session_is_for_this_site_alone_and_never_the_token(browser, tokens):
    answer = await sign_in(browser, tokens.ci)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert tokens.ci not in cookie


async def test_behind_a_proxy_with_tls_the_cookie_is_sent_by_tls_only(browser, tokens):
    proxied = {"x-forwarded-proto": "https"}
    page = await browser.get("/sign-in", headers=proxied)
    browser.headers.update({**proxied, "cookie": page.headers["set-cookie"].partition(";")[0]})
    answer = await browser.submit("/sign-in", page.text, origin="https://127.0.0.1:7434", token=tokens.ci)
    assert answer.status_code == 303
    for cookie in (page.headers["set-cookie"], answer.headers["set-cookie"]):
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie
    browser.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
    assert (await browser.get("/n/n")).status_code == 200


async def test_two_consoles_of_a_machine_do_not_take_each_others_cookies(browser, tokens):
    await sign_in(browser, tokens.ci)
    [own] = browser.cookies
    other = await browser.get("/sign-in", headers={"host": "127.0.0.1:7435"})
    assert other.headers["set-cookie"].partition("=")[0] != own
    assert (await browser.get("/n/n")).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("https://console.example", "console.example", True),
        ("https://console.example", "Console.Example:443", True),
        ("http://console.example:80", "console.example", True),
        ("http://[::1]:7434", "[::1]:7434", True),
        ("https://console.example:444", "console.example", False),
        ("https://console.example.evil", "console.example", False),
        ("https://a@console.example", "console.example", False),
        ("http://[::1", "[::1]", False),
        ("console.example", "console.example", False),
        ("ftp://console.example", "console.example", False),
        ("https://", "", False),
        ("", "", False),
    ],
)
def test_an_origin_is_compared_with_the_name_that_the_browser_uses(origin, host, is_own):
    assert forms._is_own(origin, host) == is_own


async def test_a_sign_in_gives_the_browser_another_id(browser, tokens):
    await browser.get("/sign-in")
    before = dict(browser.cookies)
    await sign_in(browser, tokens.ci)
    assert dict(browser.cookies) != before


async def test_a_token_that_the_server_does_not_know_begins_no_session(browser, tokens):
    for token, status in ((tokens.ci[:-1], 401), ("not a token", 400), ("", 400)):
        answer = await sign_in(browser, token)
        assert answer.status_code == status
        assert "The token was not accepted" in answer.text
    assert (await browser.get("/n/n")).status_code == 303


async def test_a_sign_in_from_another_site_is_refused(browser, tokens):
    page = (await browser.get("/sign-in")).text
    for origin in ("https://evil.example", "null", None, "http://[::1", "//127.0.0.1:7434", "127.0.0.1:7434"):
        answer = await browser.submit("/sign-in", page, origin=origin, token=tokens.ci)
        assert answer.status_code == 403
        assert "Host" in answer.text
    browser.cookies.clear()
    assert (await browser.submit("/sign-in", page, token=tokens.ci)).status_code == 403


async def test_a_sign_out_ends_the_session_on_the_server_too(browser, tokens):
    await sign_in(browser, tokens.ci)
    cookies = dict(browser.cookies)
    page = (await browser.get("/n/n")).text
    assert (await browser.submit("/sign-out", page)).status_code == 303
    browser.cookies.update(cookies)
    assert (await browser.get("/n/n")).status_code == 303


async def test_the_token_of_a_proxy_is_used_and_a_wrong_one_is_an_error(browser, tokens):
    answer = await browser.get("/n/n", headers={"authorization": f"Bearer {tokens.ci}"})
    assert answer.status_code == 200
    for wrong, status in ((tokens.ci[:-1], 401), ("ü", 400)):
        answer = await browser.get("/n/n", headers=[(b"authorization", f"Bearer {wrong}".encode())])
        assert answer.status_code == status


async def test_the_consoles_own_token_is_used_for_callers_without_one(target, tokens):
    async with browsing(target, token=lambda: tokens.ci) as browser:
        assert (await browser.get("/n/n")).status_code == 200


async def test_a_session_whose_token_is_refused_now_leads_to_the_sign_in(browser, tokens):
    await sign_in(browser, tokens.ci)
    tokens.write()
    while (answer := await browser.get("/n/n")).status_code == 200:
        pass
    assert answer.status_code == 303
    tokens.write(tokens.entry)
    assert (await browser.get("/n/n")).status_code == 303


def test_a_session_ends_after_its_time_and_when_it_is_not_used():
    now = 0.0
    sessions = Sessions(now=lambda: now)
    used, idle = sessions.begin("a"), sessions.begin("b")
    while now < SESSION_SECONDS - 3000:
        now += 3000
        assert sessions.token(used) == "a"
    assert sessions.token(idle) is None
    now = SESSION_SECONDS
    assert sessions.token(used) is None


def test_the_number_of_sessions_is_bounded():
    sessions = Sessions(limit=2)
    ids = [sessions.begin(str(number)) for number in range(3)]
    assert [sessions.token(each) for each in ids] == [None, "1", "2"]


async def test_a_client_is_made_again_when_the_files_of_its_connection_were_replaced(tmp_path):
    # With sizes that differ: a file system may give a new file the place and the time of an earlier one.
    first, second = Authority(tmp_path / "first"), Authority(tmp_path / "second", "An authority with a longer name")
    ca_file = tmp_path / "ca.pem"

    def put(data):
        (tmp_path / "new").write_bytes(data)
        (tmp_path / "new").replace(ca_file)

    put(first.ca_file.read_bytes())
    async with Clients(Settings("127.0.0.1:1", ca_file=str(ca_file))) as clients:
        async with clients.lent("a") as one:
            async with clients.lent("a") as again:
                assert again is one
            put(b"not a certificate")
            async with clients.lent("a") as again:
                assert again is one
            put(second.ca_file.read_bytes())
            async with clients.lent("a") as other:
                assert other is not one
        async with clients.lent("a") as again:
            assert again is other
        assert len(clients) == 1


async def test_the_number_of_clients_is_bounded_and_one_in_use_stays_open(tmp_path):
    async with Clients(Settings("127.0.0.1:1"), limit=1) as clients:
        async with clients.lent("a") as first:
            async with clients.lent("b"), clients.lent("c"):
                assert len(clients) == 1
            async with clients.lent("a") as second:
                assert second is not first
        async with clients.lent("a") as third:
            assert third is second
