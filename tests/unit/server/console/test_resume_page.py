"""Why a run can or cannot be resumed, as a page and as a part of the workflow's page."""

import holdfast
import pytest

from tests.support.console_pages import FORMAT
from tests.support.damage import damage_newest, long_text


async def test_a_run_that_can_be_resumed_says_how(client, browser):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="c")
    page = (await browser.get("/n/n/w/w/resume")).text
    assert "Can be resumed, from revision 1." in page
    assert "holdfast resume-check" in page
    assert "client.resume(" in page


async def test_damage_is_found_by_reading_every_byte(client, browser, tmp_path):
    for name in ("a", "b"):
        await client.save("n", "w", long_text().encode(), format=FORMAT, checkpoint_id=name)
    damage_newest(tmp_path / "store")
    assert "Can be resumed" in (await browser.get("/n/n/w/w/resume?depth=presence")).text
    page = (await browser.get("/n/n/w/w/resume?depth=checksum")).text
    assert "Cannot be resumed as it is: damaged." in page
    assert "Loads revision 1, and reports that it skipped 1 damaged entry." in page
    assert "What to do:" in page
    assert "--fallback" in page


async def test_an_engine_of_another_format_is_answered(client, browser):
    await client.save("n", "w", b"x", format=FORMAT)
    page = (await browser.get("/n/n/w/w/resume?format=other&min=1&max=2")).text
    assert "FormatIncompatibleError" in page
    assert "No checkpoint of it can be loaded" in page
    page = (await browser.get("/n/n/w/w/resume?format=test&min=1&max=3")).text
    assert "migrated from version 1 to 3" in page


@pytest.mark.parametrize(("low", "high"), [("0", "1"), ("3", "2"), ("x", "1"), ("1", "²"), ("1", "9" * 30)])
async def test_versions_that_are_none_are_said(client, browser, low, high):
    await client.save("n", "w", b"x", format=FORMAT)
    page = (await browser.get("/n/n/w/w/resume", params={"format": "test", "min": low, "max": high})).text
    assert "Versions are numbers from 1 to" in page
    assert 'aria-invalid="true"' in page


async def test_the_part_of_the_workflows_page_is_short(client, browser):
    await client.save("n", "w", b"x", format=FORMAT)
    part = (await browser.get("/n/n/w/w/resume", headers={"hx-request": "true"})).text
    assert "Can be resumed" in part
    assert "<html" not in part
    assert "client.resume(" not in part


@pytest.mark.parametrize("name", ["nothing", "deleted"])
async def test_a_run_without_checkpoints_is_a_finding(client, browser, name):
    if name == "deleted":
        await client.save("n", name, b"x", format=FORMAT)
        await client.delete_workflow("n", name)
    page = (await browser.get(f"/n/n/w/{name}/resume")).text
    assert "Cannot be resumed as it is: no such" in page
    assert "start the workflow from its beginning" in page


async def test_an_encrypted_run_is_checked_without_its_keys(client, browser, tmp_path):
    keyring = holdfast.Keyring(holdfast.encryption.LocalKey.generate("k"))
    async with holdfast.AsyncClient((tmp_path / "store").as_uri(), encryption=keyring) as sealing:
        await sealing.save("n", "w", b"secret", format=FORMAT)
    assert "Can be resumed" in (await browser.get("/n/n/w/w/resume?depth=checksum")).text
