"""Take the pictures of the console in docs/guides/console: `python -m tools.screenshots`.

A store is filled as the tests do it, and a real Chromium opens the pages: wide ones in light colours, and some as on a
phone in dark ones. Needs chromium.
"""

import sys
import tempfile
from pathlib import Path

from tests.support import servers
from tests.support.console import browser, store
from tests.support.console.running import console

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "guides" / "console"
MOST_BYTES = 150_000
_RUN = f"/n/{store.BILLING}/w/{store.RICH}"
PAGES = {
    "workflows": f"/n/{store.BILLING}",
    "workflow": _RUN,
    "checkpoint": f"{_RUN}/c/step-8",
    "difference": f"{_RUN}/diff?a=step-7&b=step-8",
    "store": "/store",
    "damage": f"/n/{store.BILLING}/w/{store.DAMAGED_BLOB}/resume?depth=checksum",
}
ON_A_PHONE = ("workflow",)


def main() -> None:
    """Take every picture. Exit with 1 if no browser can be driven, or if a picture is too large for a page."""
    if browser.missing():
        sys.exit(browser.missing())
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        filled = store.fill(Path(folder) / "store")
        # The pages of the store show what a collection of the server has counted.
        collecting = ("--gc-interval-seconds", "1")
        with (
            servers.server(filled.url, *collecting) as target,
            console(target) as running,
            browser.chromium() as chromium,
        ):
            for name, path in PAGES.items():
                with browser.tab(chromium, running.url) as tab:
                    show(tab, path)
                    if name == "workflows":
                        tab.page.get_by_role("button", name="Measure logical sizes").click()
                        tab.page.locator("[id^=size-]", has_text="not measured").first.wait_for(state="detached")
                    while "not counted yet" in tab.text():
                        show(tab, path)
                    take(tab, FOLDER / f"{name}.png")
            for name in ON_A_PHONE:
                with browser.tab(chromium, running.url, size=browser.NARROW, scheme="dark") as tab:
                    show(tab, PAGES[name])
                    take(tab, FOLDER / f"{name}-phone.png")


def show(tab: browser.Tab, path: str) -> None:
    """Open a page, with all of its parts."""
    if tab.open(path) != 200:
        sys.exit(f"no page at {path}")
    tab.settle()


def take(tab: browser.Tab, file: Path) -> None:
    """Take the picture of a page, in the size of the window."""
    tab.page.screenshot(path=file)
    if file.stat().st_size > MOST_BYTES:
        sys.exit(f"{file}: expected at most {MOST_BYTES} bytes, got {file.stat().st_size}")


if __name__ == "__main__":
    main()
