"""Changes in a browser: only with --allow-changes, only by a form of the console, only if nothing has changed since."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import holdfast
import pytest

from tests.support.console import store
from tests.support.console.browser import NARROW
from tests.support.console.running import Console, console

pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(300)]

NAMESPACE = "changes"
FORMAT = holdfast.Format("state", 1)


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> str:
    return (tmp_path_factory.mktemp("changes") / "store").as_uri()


@pytest.fixture(scope="module")
def client(target) -> Iterator[holdfast.Client]:
    with holdfast.Client(target) as opened:
        yield opened


@pytest.fixture(scope="module")
def changing(client, target) -> Iterator[Console]:
    with console(target, "--allow-changes") as running:
        yield running


@pytest.fixture
def run(client, request) -> str:
    """The id of a workflow with two checkpoints."""
    name = f"{request.node.name[:60]}".replace("[", "-").replace("]", "").replace("/", "-")
    for number in (1, 2):
        client.save(NAMESPACE, name, b"{}", format=FORMAT, checkpoint_id=f"c{number}")
    return name


@pytest.fixture
def ids(client, run) -> Callable[[], list[str]]:
    """Returns the ids of the checkpoints of the workflow that are left."""
    return lambda: [each.checkpoint_id for each in client.list(NAMESPACE, run)]


def page_of(run):
    return f"/n/{NAMESPACE}/w/{run}"


def confirm(tab, text, button):
    """Enter an id and press the button. Return the status of the answer."""
    tab.page.get_by_role("textbox").fill(text)
    with tab.page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        tab.page.get_by_role("button", name=button).click()
    return answer.value.status


def test_a_checkpoint_is_deleted_once_its_id_is_entered(changing, open_tab, run, ids):
    with open_tab(changing.url) as tab:
        tab.open(f"{page_of(run)}/c/c1")
        tab.page.locator("main").get_by_role("link", name="Delete", exact=True).click()
        tab.page.get_by_role("heading", name="Delete the checkpoint").wait_for()
        assert confirm(tab, "c2", "Delete this checkpoint") == 409
        tab.page.get_by_text("Nothing was changed").wait_for()
        assert ids() == ["c2", "c1"]
        assert confirm(tab, "c1", "Delete this checkpoint") == 303
        tab.page.wait_for_url(f"**{page_of(run)}")
        assert ids() == ["c2"]


def test_a_workflow_is_deleted_once_its_id_is_entered(changing, open_tab, run, ids):
    with open_tab(changing.url) as tab:
        tab.open(page_of(run))
        tab.page.locator("main").get_by_role("link", name="Delete", exact=True).first.click()
        tab.page.get_by_role("heading", name="Delete the workflow").wait_for()
        assert confirm(tab, run[:-1], "Delete every checkpoint") == 409
        assert ids() == ["c2", "c1"]
        assert confirm(tab, run, "Delete every checkpoint") == 303
        tab.page.get_by_text("All checkpoints deleted").wait_for()
        assert ids() == []


def test_a_writer_with_a_lease_is_fenced_only_once_the_box_is_ticked(changing, open_tab, run, client):
    writer = client.acquire_writer(NAMESPACE, run, holder="worker-7", lease=timedelta(hours=1))
    with open_tab(changing.url) as tab:
        tab.open(page_of(run))
        tab.page.get_by_role("link", name="Fence", exact=True).click()
        tab.page.get_by_role("heading", name="Fence the writer").wait_for()
        assert confirm(tab, run, "Acquire the next epoch") == 409
        assert "worker-7" in tab.text()
        client.save(NAMESPACE, run, b"{}", format=FORMAT, epoch=writer.epoch)
        # The log has changed since: the page is made once more.
        tab.open(f"{page_of(run)}/fence")
        assert confirm(tab, run, "Acquire the next epoch") == 409
        tab.page.get_by_label("Evict the holder").check()
        assert confirm(tab, run, "Acquire the next epoch") == 303
        tab.page.wait_for_url(f"**{page_of(run)}")
    with pytest.raises(holdfast.WriterFencedError):
        client.save(NAMESPACE, run, b"{}", format=FORMAT, epoch=writer.epoch)


def test_a_workflow_whose_log_has_grown_since_its_page_was_made_is_not_deleted(changing, open_tab, run, ids, client):
    with open_tab(changing.url) as tab:
        tab.open(f"{page_of(run)}/delete")
        client.save(NAMESPACE, run, b"{}", format=FORMAT, checkpoint_id="c3")
        assert confirm(tab, run, "Delete every checkpoint") == 409
        assert "has changed since" in tab.text()
    assert ids() == ["c3", "c2", "c1"]


def test_a_form_without_its_mark_changes_nothing(changing, open_tab, run, ids):
    with open_tab(changing.url) as tab:
        tab.open(f"{page_of(run)}/delete")
        tab.page.evaluate("document.querySelector('main input[name=form_mark]').remove()")
        assert confirm(tab, run, "Delete every checkpoint") == 403
    assert ids() == ["c2", "c1"]


def test_a_form_on_a_page_of_another_site_changes_nothing(changing, open_tab, run, ids):
    elsewhere = "http://elsewhere.example/"
    with open_tab(changing.url) as tab:
        tab.open(f"{page_of(run)}/delete")
        fields = tab.page.locator("main form").inner_html()
        form = f'<form method="post" action="{changing.url}{page_of(run)}/delete">{fields}</form>'
        tab.page.route(elsewhere, lambda route: route.fulfill(content_type="text/html", body=form))
        tab.page.goto(elsewhere)
        assert confirm(tab, run, "Delete every checkpoint") == 403
        assert "another site" in tab.text()
        assert tab.faults == [f"request to {elsewhere}"]
        tab.faults.clear()
    assert ids() == ["c2", "c1"]


@pytest.mark.parametrize("path", ["/delete", "/fence", "/c/c1/delete"])
def test_a_page_of_a_change_meets_wcag_aa_and_fits_a_phone(changing, open_tab, run, path):
    with open_tab(changing.url, size=NARROW) as tab:
        assert tab.open(page_of(run) + path) == 200
        assert tab.overflow() == []
        assert tab.violations() == []


def test_a_read_only_console_offers_no_changes_and_makes_none(anyone, open_tab):
    path = f"/n/{store.BILLING}/w/{store.RICH}"
    with open_tab(anyone.url) as tab:
        for each in (f"/n/{store.BILLING}", path, f"{path}/c/step-8"):
            assert tab.open(each) == 200
            assert (
                tab.page.locator("main a[href$='/delete'], main a[href$='/fence'], main form[method=post]").count() == 0
            )
        for each in (f"{path}/delete", f"{path}/fence", f"{path}/c/step-8/delete"):
            found = tab.page.evaluate(
                "async path => { const answer = await fetch(path, {method: 'POST', body: new URLSearchParams({})});"
                " return [answer.status, await answer.text()]; }",
                each,
            )
            assert found[0] == 403
            assert "--allow-changes" in found[1]
        assert tab.open(f"{path}/c/step-8") == 200
