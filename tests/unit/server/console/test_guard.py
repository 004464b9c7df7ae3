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


async def test_a_body_that_is_too_large_is_refused(browser):
    page = (await browser.get("/sign-in")).text
    answer = await browser.submit("/sign-in", page, token="x" * (65 << 10))
    assert answer.status_code == 413


async def test_a_path_of_no_page_is_a_page_of_its_own(browser):
    answer = await browser.get("/nothing/here")
    assert answer.status_code == 404
    assert "Not Found" in answer.text
