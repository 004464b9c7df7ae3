"""What holds for every answer of the console."""

import re

import pytest

from tests.support.console_pages import browsing

PAGES = ("/", "/n/n", "/sign-in", "/nothing", "/n/a%2Fb", "/static/x/console.css")


@pytest.mark.parametrize("path", PAGES)
async def test_every_answer_forbids_content_of_others_and_inline_scripts(browser, path):
    headers = (await browser.get(path)).headers
    policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES[:-1])
async def test_pages_have_neither_inline_scripts_nor_styles_nor_handlers(browser, path):
    page = (await browser.get(path)).text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


async def test_static_files_are_kept_by_their_digests(browser):
    page = (await browser.get("/sign-in")).text
    found = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(set(found)) == 4
    for path in found:
        answer = await browser.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    digest = found[0].split("/")[2]
    assert (await browser.get(found[0].replace(digest, "0" * 16))).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil.example:7434", "10.0.0.1"])
async def test_a_console_of_this_machine_answers_to_no_other_name(browser, host):
    answer = await browser.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "evil" not in answer.text or "--host" in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:7434", "127.0.0.1:1", "[::1]:7434", "a.localhost"])
async def test_a_console_of_this_machine_answers_to_its_names(browser, host):
    assert (await browser.get("/sign-in", headers={"host": host})).status_code == 200


async def test_a_name_of_a_proxy_can_be_allowed(tmp_path):
    async with browsing(tmp_path.as_uri(), hosts=("console.example",)) as browser:
        assert (await browser.get("/sign-in", headers={"host": "Console.example"})).status_code == 200
        assert (await browser.get("/sign-in", headers={"host": "evil.example"})).status_code == 421


@pytest.mark.parametrize(
    "host", ["[::1", "localhost:a", "localhost:80@evil.example", "localhost:80/x?y=", "[::1]evil", "localhost evil"]
)
async def test_a_host_that_is_not_one_is_refused(browser, host):
    assert (await browser.get("/", headers={"host": host})).status_code == 421


async def test_another_method_is_refused_with_those_that_the_path_has(browser):
    answer = await browser.request("DELETE", "/n/n/w/run/delete")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert (await browser.request("OPTIONS", "/n/n")).status_code == 405


async def test_a_slash_at_the_end_leads_to_the_page_without_it_whatever_is_before_the_console(browser):
    for scheme in ("http", "https"):
        answer = await browser.get("/n/n/?prefix=a", headers={"x-forwarded-proto": scheme})
        assert (answer.status_code, answer.headers["location"]) == (307, "/n/n?prefix=a")
    answer = await browser.get("http://127.0.0.1:7434//evil.example/")
    assert answer.status_code == 404


async def test_a_body_that_is_too_large_is_refused(browser):
    page = (await browser.get("/sign-in")).text
    answer = await browser.submit("/sign-in", page, token="x" * (65 << 10))
    assert answer.status_code == 413


async def test_a_path_of_no_page_is_a_page_of_its_own(browser):
    answer = await browser.get("/nothing/here")
    assert answer.status_code == 404
    assert "Not Found" in answer.text
