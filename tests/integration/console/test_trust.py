"""Who may see what: tokens, sessions, hosts, and changes."""

import http.client
from urllib.parse import urlencode

import pytest

from tests.support.console import store

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]


def sign_in(tab, token):
    tab.page.get_by_label("Token").fill(token)
    tab.page.get_by_role("button", name="Sign in").click()


def answer(running, method, path, headers, body=""):
    """Send a request past the browser. Return the status, the headers and the text of the answer."""
    connection = http.client.HTTPConnection(running.address, timeout=60)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, response.headers, text


def test_a_caller_without_a_token_is_led_to_the_sign_in_and_back_to_the_page(trusted, open_tab, filled):
    with open_tab(trusted.url) as tab:
        tab.open(f"/n/{store.BILLING}?prefix=nightly-1")
        assert "/sign-in" in tab.page.url
        assert store.RICH not in tab.text()
        sign_in(tab, filled.reader)
        tab.page.wait_for_url(f"**/n/{store.BILLING}?prefix=nightly-1")
        assert tab.page.locator("tbody tr").count() == 10
        [cookie] = tab.page.context.cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        assert filled.reader not in cookie["value"]


@pytest.mark.parametrize("token", ["hft_wrong", "ü", "x" * 5000])
def test_a_wrong_token_is_refused_with_the_reason(trusted, open_tab, token):
    with open_tab(trusted.url) as tab:
        tab.open("/")
        sign_in(tab, token)
        tab.page.get_by_role("alert").wait_for()
        assert "token" in tab.page.get_by_role("alert").inner_text().lower()
        tab.open(f"/n/{store.BILLING}")
        assert "/sign-in" in tab.page.url


def test_a_reader_sees_its_namespaces_and_learns_nothing_of_others(trusted, open_tab, filled):
    with open_tab(trusted.url) as tab:
        tab.open("/")
        sign_in(tab, filled.reader)
        tab.page.get_by_role("button", name="Sign out").wait_for()
        assert tab.open(f"/n/{store.BILLING}") == 200
        assert tab.open(f"/n/{store.PRIVATE}") == 403
        assert "You may not see this" in tab.text()
        tab.open("/")
        assert store.PRIVATE not in tab.text()


def test_who_signs_out_is_out_also_with_a_kept_cookie(trusted, open_tab, filled):
    with open_tab(trusted.url) as tab:
        tab.open("/")
        sign_in(tab, filled.operator)
        tab.page.get_by_role("button", name="Sign out").wait_for()
        cookies = tab.page.context.cookies()
        assert tab.open(f"/n/{store.PRIVATE}") == 200
        tab.page.get_by_role("button", name="Sign out").click()
        tab.page.get_by_label("Token").wait_for()
        tab.page.context.add_cookies(cookies)
        tab.open(f"/n/{store.PRIVATE}")
        assert "/sign-in" in tab.page.url


def test_the_store_is_described_to_an_administrator_and_the_rest_is_explained_to_others(trusted, open_tab, filled):
    for token, is_admin in ((filled.operator, True), (filled.reader, False)):
        with open_tab(trusted.url) as tab:
            tab.open("/store")
            sign_in(tab, token)
            tab.page.get_by_role("heading", name="Store").wait_for()
            tab.settle()
            assert ("right to admin" in tab.text()) != is_admin
            assert (tab.page.get_by_role("heading", name="Last check").count() == 1) == is_admin
            assert (store.PRIVATE in tab.page.content()) == is_admin


def test_a_sign_in_leads_to_no_other_host(trusted, open_tab, filled):
    for elsewhere in ("https://example.com/", "//example.com", "/\\example.com", "javascript:alert(1)"):
        with open_tab(trusted.url) as tab:
            tab.open(f"/sign-in?{urlencode({'next': elsewhere})}")
            sign_in(tab, filled.reader)
            tab.page.get_by_role("button", name="Sign out").wait_for()
            assert tab.page.url == f"{trusted.url}/"


@pytest.mark.parametrize("host", ["rebound.example.com", "127.0.0.1.example.com:7434", ""])
def test_a_page_is_not_served_by_another_name(anyone, host):
    status, headers, text = answer(anyone, "GET", f"/n/{store.BILLING}", {"Host": host})
    assert status == 421
    assert store.RICH not in text
    assert "content-security-policy" in headers


@pytest.mark.parametrize("path", ["/", "/sign-in", f"/n/{store.BILLING}", "/nothing", "/n/a/w/b/c/d"])
def test_every_answer_has_a_policy_without_inline_code_and_is_not_kept(anyone, path):
    _, headers, _ = answer(anyone, "GET", path, {"Host": "localhost"})
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
