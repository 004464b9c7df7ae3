"""Pages run as written, their names and links exist, and their prose has the project's form."""

import re
import sys
from functools import cache
from pathlib import Path

import holdfast
import pytest
from holdfast_server.config_sources import load
from holdfast_server.trust import policy as policies
from holdfast_server.trust.quotas import parse

from tests.integration.docs.blocks import DOCS, FENCE, PAGES, blocks, run
from tests.support.certificates import Authority
from tests.support.repository import ROOT

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
WIDTH = 100
# Pages of engines are run by the tests of their adapters.
RUN = [page for page in PAGES if "engines" not in page.parts]
# Folders and files of this repository.
_PATH = re.compile(r"(?:\.ci|benchmarks|client|clients|deploy|docs|examples|proto|server|tests|tools)/[\w./-]*")
_POLICY = "[[policy]]"
_QUOTA = "[[quota]]"
_MODULE = re.compile(r"holdfast(?:_server)?(?:\.\w+)+")


def prose(page: Path) -> str:
    """Return a page without its code blocks and without what is generated into it."""
    return re.sub(r"<!-- (\w+) -->.*<!-- /\1 -->", "", FENCE.sub("", page.read_text()), flags=re.DOTALL)


def pages_with(language: str) -> list[Path]:
    return [page for page in RUN if blocks(page, language)]


@pytest.mark.parametrize("page", pages_with("python"), ids=str)
async def test_the_python_of_a_page_is_one_program_that_prints_what_the_page_shows(page, served, tmp_path):
    code = "\n".join(blocks(page, "python")).replace("127.0.0.1:7433", served.target)
    code = code.replace("file:///tmp/checkpoints", (tmp_path / "checkpoints").as_uri())
    code = code.replace("time.sleep(1)", "time.sleep(0)")
    # The files that pages name.
    Authority(tmp_path).issue("client")
    output = await run([sys.executable, "-c", code], tmp_path, served.target)
    shown = "".join(blocks(page, "text"))
    if shown:
        assert output == shown


@pytest.mark.parametrize("page", pages_with("sh"), ids=str)
async def test_the_commands_of_a_page_run(page, served, client, tmp_path):
    await client.save("my-app", "count", b"1", format=holdfast.Format("count", 1))
    script = "\n".join(blocks(page, "sh"))
    for url in ("file:///var/lib/holdfast", "file:///tmp/checkpoints"):
        script = script.replace(url, served.folder.as_uri())
    script = script.replace("/var/lib/holdfast", str(served.folder))
    await run(["sh", "-ec", script], tmp_path, served.target)


def is_of_settings(code):
    """Return whether a block of TOML has settings of the server, and not a policy or quotas."""
    return _POLICY not in code and _QUOTA not in code


def test_the_quotas_of_the_page_of_operations_are_valid():
    [code] = [code for code in blocks(DOCS / "guides/operations.md", "toml") if _QUOTA in code]
    quotas = parse(code.encode())
    assert quotas.of("batch-7").calls_per_second == 50
    assert quotas.of("other").stored_bytes == 100_000_000_000


def test_the_policy_of_the_page_of_security_gives_the_rights_that_its_comments_say():
    [code] = [code for code in blocks(DOCS / "security.md", "toml") if _POLICY in code]
    policy = policies.parse(code.encode())
    for namespace in ("team-a", "team-a-builds"):
        for principal in ("token:ci", "spiffe://prod/team-a/runner"):
            assert policy.verbs_of((principal,), namespace) == {"read", "write", "fence"}
        assert policy.verbs_of(("oidc:ann", "oidc:group:ml"), namespace) == {"read", "delete"}
    assert not policy.verbs_of(("token:ci",), "team-b")
    assert policy.verbs_of(("token:operator",), "team-b") == {"read", "write", "fence", "delete", "admin"}
    assert policy.is_admin(("token:operator",))
    assert not policy.is_admin(("token:ci",))


SETTINGS = [page for page in pages_with("toml") if any(is_of_settings(code) for code in blocks(page, "toml"))]


@pytest.mark.parametrize("page", SETTINGS, ids=str)
def test_the_settings_of_a_page_are_settings_of_the_server(page, tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text("\n".join(code for code in blocks(page, "toml") if is_of_settings(code)))
    assert load({"config": str(file)}, {}, tmp_path) != load({}, {}, tmp_path)


@pytest.mark.parametrize("name", [*NAMES, "README.md"])
def test_prose_is_wrapped(name):
    lines = prose(ROOT / name).splitlines()
    # A URL cannot be wrapped.
    assert [line for line in lines if len(line) > WIDTH and "](http" not in line] == []


@pytest.mark.parametrize("name", [*NAMES, "README.md"])
def test_no_line_of_a_paragraph_reads_as_an_item_of_a_list(name):
    paragraphs = re.split(r"\n\s*\n", prose(ROOT / name))
    plain = [text for text in paragraphs if not re.match(r"\s*(?:[-*#|<:]|\d+\.)", text)]
    assert [text for text in plain if re.search(r"\n\s*(?:[-*]|\d+\.) ", text)] == []


@pytest.mark.parametrize("name", [*NAMES, "README.md"])
def test_links_lead_to_pages_and_headings(name):
    page = ROOT / name
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if path.endswith("reference/api.md") or (path == "api.md" and page.parent.name == "reference"):
            continue  # made when the site is built
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the site makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    slugs = (re.sub(r"[^\w\s-]", "", re.sub(r"[`*]", "", heading)).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", slug) for slug in slugs}


@pytest.mark.parametrize("name", [*NAMES, "README.md"])
def test_paths_that_a_page_names_exist(name):
    for quoted in re.findall(r"`([^`\n]+)`", prose(ROOT / name)):
        if _PATH.fullmatch(quoted):
            assert (ROOT / quoted).exists(), quoted
        elif re.fullmatch(r"test_\w+\.py", quoted):
            assert [*(ROOT / "tests").rglob(quoted)], quoted


@pytest.mark.parametrize("name", [*NAMES, "README.md"])
def test_modules_and_names_that_a_page_names_exist(name):
    for quoted in re.findall(r"`([\w.]+)(?:\([^`]*\))?`", prose(ROOT / name)):
        if _MODULE.fullmatch(quoted) and quoted not in literals():
            assert is_defined(quoted), quoted


@cache
def literals() -> set[str]:
    """Return the dotted names that stand in the code as strings, such as those of metrics."""
    sources = [*ROOT.glob("client/**/*.py"), *ROOT.glob("server/**/*.py"), *ROOT.glob("proto/**/*.proto")]
    return {found for source in sources for found in re.findall(r"[\"']([\w.]+)[\"']", source.read_text())}


def is_defined(dotted: str) -> bool:
    """Whether a module's file exists, and defines or imports the name that follows it, if there is one."""
    top, *steps = dotted.split(".")
    place = ROOT / {"holdfast": "client", "holdfast_server": "server"}[top] / top
    while steps and ((place / steps[0]).is_dir() or (place / f"{steps[0]}.py").is_file()):
        place /= steps.pop(0)
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return not steps or (source.exists() and re.search(rf"\b{steps[0]}\b", source.read_text()) is not None)


@pytest.mark.parametrize("name", [*NAMES, "README.md"])
def test_words_that_the_glossary_excludes_are_not_used(name):
    text = prose(ROOT / name) if name != "docs/glossary.md" else ""
    assert re.findall(r"\b(?:anew|mend(?:s|ed)?|prepare marker|slots?|go(?:es)? on behind)\b", text) == []
