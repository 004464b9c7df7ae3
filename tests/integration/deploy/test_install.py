"""The README's commands to install, run as written in an empty environment."""

import json
import os
import re
import subprocess
import tomllib

import pytest
from holdfast._package import DISTRIBUTION, VERSION
from holdfast_server import SERVER_VERSION

from tests.integration.deploy import interpreters
from tests.integration.deploy.sources import copy_sources
from tests.support.budget import full
from tests.support.repository import ROOT

README = (ROOT / "README.md").read_text()
PROJECTS = {
    name: tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"] for name in ("client", "server")
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("interpreter", [full(interpreters.oldest), full(interpreters.newest)])
def test_the_readmes_commands_install_both_distributions_into_an_empty_environment(tmp_path, interpreter):
    [script] = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    copy_sources(tmp_path)
    # The README's `python3` is the interpreter under test.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(f'#!/bin/sh\nexec {interpreter()} "$@"\n')
    (tmp_path / "bin" / "python3").chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**clean, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, env=environment, check=True)

    installed = tmp_path / "holdfast-env" / "bin"
    server = subprocess.Popen(
        [installed / "holdfast-server", "serve", "--listen", "127.0.0.1:0", "--store", (tmp_path / "data").as_uri()],
        stdout=subprocess.PIPE,
        text=True,
        env=clean,
        cwd=tmp_path,
    )
    try:
        target = json.loads(server.stdout.readline())["address"]
        command = [installed / "holdfast", "save", "n", "w", "README.md", "--format", "f:1", "--target", target]
        (tmp_path / "README.md").write_text(README)
        subprocess.run(command, cwd=tmp_path, env=clean, check=True, stdout=subprocess.DEVNULL)
        program = "import holdfast, sys; print(len(holdfast.Client(sys.argv[1]).load('n', 'w').data))"
        loaded = subprocess.run(
            [installed / "python", "-W", "error", "-c", program, target],
            cwd=tmp_path,
            env=clean,
            check=True,
            capture_output=True,
            text=True,
        )
        assert int(loaded.stdout) == len(README.encode())
    finally:
        server.terminate()
    assert server.wait(30) == 0


def test_both_distributions_have_one_version_and_pin_each_other_to_it():
    assert {name: project["name"] for name, project in PROJECTS.items()} == {
        "client": DISTRIBUTION,
        "server": "holdfast-server",
    }
    assert VERSION == SERVER_VERSION
    assert [each for each in PROJECTS["server"]["dependencies"] if each.startswith("holdfast")] == [
        f"holdfast-client=={VERSION}"
    ]
    assert PROJECTS["client"]["optional-dependencies"]["embedded"] == [f"holdfast-server=={VERSION}"]
    assert set(re.findall(r"holdfast_(?:client|server)-([\d.]+)-py3", README)) == {VERSION}


def test_no_page_installs_the_other_project_named_holdfast():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "client").rglob("*.py")]
    pages += [*(ROOT / "server").rglob("*.py"), *(ROOT / "examples").rglob("*"), ROOT / "deploy" / "Dockerfile"]
    wrong = re.compile(
        r"holdfast\[[a-z]|holdfast==|(?<!un)(?<!--)install\s+(?:-\S+\s+)*[\"']?holdfast(?![\w-])(?!`? does not)"
    )
    found = {str(page): wrong.findall(page.read_text()) for page in pages if page.is_file() and page.suffix != ".pyc"}
    assert {page: hits for page, hits in found.items() if hits} == {}


def test_every_extra_that_a_page_names_exists():
    extras = set(PROJECTS["client"]["optional-dependencies"])
    named = set()
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "client").rglob("*.py")]:
        for group in re.findall(r"holdfast-client\[([\w,-]+)\]", page.read_text()):
            named |= set(group.split(","))
    assert named == extras
