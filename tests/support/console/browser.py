"""A real Chromium, and pages of it that report whatever a page of the console must not do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

# What a page waits for at most, in milliseconds; a loaded machine is slow.
PATIENCE_MS = 60_000
WIDE = (1280, 900)
NARROW = (390, 844)
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")

_WATCH = """
window.loadedParts = new WeakSet();
document.addEventListener("htmx:afterRequest", event => window.loadedParts.add(event.detail.elt));
document.addEventListener("securitypolicyviolation", event => {
  console.error("policy violated: " + event.violatedDirective + " by " + event.blockedURI + " " + event.sample);
});
"""
_WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# What the browser says about the status of an answer, which the tests look at themselves.
_STATUS = "Failed to load resource: the server responded with a status of"


def missing() -> str:
    """Return why no browser can be driven, "" if one can."""
    for package in ("playwright", "axe_playwright_python", "starlette", "uvicorn"):
        if find_spec(package) is None:
            return f"{package} is not installed: make .venv/ready"
    return "" if shutil.which("chromium") else "chromium not found: .ci/run installs it"


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Run Debian's Chromium while the block lasts. No event loop can run in this thread meanwhile."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it may be missing

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            # Tests may run as root, and in a container whose /dev/shm is small.
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of a browser, and what went wrong in it.

    Args:
        page: the page, empty.
        origin: the URL of the console; requests elsewhere are faults, and are not sent.

    Attributes:
        page: the page.
        faults: dialogs, errors of scripts, violations of the policy, and requests to other hosts.

    """

    def __init__(self, page: "Page", origin: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self._origin = origin
        page.set_default_timeout(PATIENCE_MS)
        page.on("dialog", self._dialog)
        page.on("console", self._message)
        page.on("pageerror", lambda error: self.faults.append(f"error of a script: {error}"))
        page.on("request", self._request)

    def open(self, path: str) -> int:
        """Open a path of the console. Return the status of the answer."""
        answer = self.page.goto(self._origin + path)
        assert answer is not None
        return answer.status

    def settle(self) -> None:
        """Wait until the parts that the page loads later are there."""
        self.page.wait_for_function(_IS_SETTLED)

    def text(self) -> str:
        """Return the text of the page, as it is shown."""
        return self.page.locator("body").inner_text()

    def heading(self) -> str:
        """Return the text of the page's heading, without the button that copies it."""
        return self.page.locator("h1").inner_text().removesuffix("\nCopy")

    def violations(self, *, of_contrast: bool = False) -> list[str]:
        """Return the rules of WCAG A and AA that the page breaks, with the elements that do. It needs scripts.

        Args:
            of_contrast: only those of contrast, which alone depend on the scheme.

        """
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - it may be missing

        rules = {"type": "rule", "values": ["color-contrast"]} if of_contrast else {"type": "tag", "values": _WCAG}
        options = {"runOnly": rules, "resultTypes": ["violations"]}
        found: list[dict[str, Any]] = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{each['id']}: {node['html'][:200]}: {node['failureSummary']}" for each in found for node in each["nodes"]
        ]

    def overflow(self) -> list[str]:
        """Return the elements that make the page wider than the window."""
        found: list[str] = self.page.evaluate(_OVERFLOWING)
        return found

    def _dialog(self, dialog: "Dialog") -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _message(self, message: "ConsoleMessage") -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(_STATUS):
            self.faults.append(f"{message.type}: {message.text}")

    def _request(self, request: "Request") -> None:
        if urlsplit(request.url).scheme in {"data", "blob"}:
            return
        if not request.url.startswith(f"{self._origin}/"):
            self.faults.append(f"request to {request.url}")


# htmx marks the elements whose requests run, and the parts that it puts in.
_IS_SETTLED = """() =>
  [...document.querySelectorAll("[hx-get][hx-trigger=load]")].every(each => window.loadedParts.has(each)) &&
  !document.querySelector(".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added")
"""
_OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const wide = [...document.body.querySelectorAll("*")].filter(each => each.getBoundingClientRect().right > width + 1);
  return ["the page is " + document.documentElement.scrollWidth + " px wide", ...wide.slice(0, 5).map(
    each => each.outerHTML.slice(0, 150))];
}"""


@contextmanager
def tab(
    browser: "Browser",
    origin: str,
    *,
    size: tuple[int, int] = WIDE,
    scheme: Scheme = "light",
    scripts: bool = True,
) -> Iterator[Tab]:
    """Open a tab without cookies while the block lasts; at its end, nothing may have gone wrong in it.

    Args:
        browser: the browser.
        origin: the URL of the console.
        size: width and height in pixels.
        scheme: the colours that the user prefers.
        scripts: whether scripts run.

    """
    with browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        java_script_enabled=scripts,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    ) as context:
        context.add_init_script(_WATCH)
        opened = Tab(context.new_page(), origin)
        yield opened
        if opened.faults:
            raise AssertionError("\n".join(opened.faults))
