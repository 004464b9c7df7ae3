"""TLS from Java, by the lines of the page about other languages: a certificate is presented and checked."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.repository import ROOT
from tests.support.required import require
from tests.support.servers import server

FOLDER = Path(__file__).parent / "tls"
# It downloads libraries and compiles a program.
pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(600)]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    """Run a server that requires certificates, and put the files of its caller into the folder of the test."""
    authority = Authority(tmp_path)
    pair = authority.issue()
    authority.issue("client", hosts=[])
    files = {"cert": pair.cert_file, "key": pair.key_file, "client-ca": authority.ca_file}
    with server(
        (tmp_path / "store").as_uri(), *(f"--tls-{name}-file={path}" for name, path in files.items())
    ) as target:
        yield target


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def shown(language: str) -> list[str]:
    """Return the lines of a language on the page."""
    page = (ROOT / "docs" / "guides" / "other-languages.md").read_text()
    [block] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return lines(block)


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_program_has_the_lines_of_the_page():
    written = lines((FOLDER / "java/Health.java").read_text().replace("arguments[0]", '"localhost:7433"'))
    first = written.index(shown("java")[0])
    assert written[first : first + len(shown("java"))] == shown("java")


def test_a_java_program_reaches_a_server_that_requires_certificates(target: str, tmp_path: Path):
    for name in ("mvn", "javac"):
        if shutil.which(name) is None:
            require(f"no Java: `{name}` not found")
    libraries = tmp_path / "lib"
    copy = "dependency:copy-dependencies", f"-DoutputDirectory={libraries}"
    run("mvn", "--quiet", "--batch-mode", "--file", str(FOLDER / "java" / "pom.xml"), *copy, folder=tmp_path)
    program = str(FOLDER / "java" / "Health.java")
    assert run("java", "-cp", f"{libraries}/*", program, target, folder=tmp_path) == "SERVING\n"
