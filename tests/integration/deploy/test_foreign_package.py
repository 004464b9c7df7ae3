"""Another project's `holdfast` beside ours, in every order of installation: the error is one clear line."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest
from holdfast._package import VERSION

from tests.integration.deploy.sources import copy_sources
from tests.support.budget import amount

MEMBERS = {
    "holdfast/__init__.py": "from .store import Store\n\n__all__ = ['Store']\n",
    "holdfast/store.py": "class Store:\n    pass\n",
    "holdfast/version.py": "def rollback():\n    pass\n",
    "holdfast-0.5.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: holdfast\nVersion: 0.5.1\n",
    "holdfast-0.5.1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
FOREIGN, CLIENT, SERVER = "holdfast-0.5.1-", "holdfast_client-", "holdfast_server-"

UV = Path(sys.executable).parent / "uv"
INSTALLER = amount(small="uv", full="pip")

pytestmark = pytest.mark.verification


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Build our wheels, and one with the name and the layout of the other project's."""
    folder = tmp_path_factory.mktemp("wheels")
    copy_sources(folder)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    subprocess.run([*pip, folder / "client", folder / "server"], check=True)
    record = "".join(f"{name},,\n" for name in [*MEMBERS, "holdfast-0.5.1.dist-info/RECORD"])
    with zipfile.ZipFile(folder / f"{FOREIGN}py3-none-any.whl", "w") as wheel:
        for name, text in (MEMBERS | {"holdfast-0.5.1.dist-info/RECORD": record}).items():
            wheel.writestr(name, text)
    return folder


class Environment:
    """A virtual environment without our packages, in which the libraries of this one can be imported."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder, self.wheels = folder, wheels
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        [self.site] = (folder / "lib").glob("*/site-packages")

    def pip(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", self.folder / "bin" / "python", *arguments]
        self._check(command)

    def uv(self, *arguments: str) -> None:
        """Do as pip does, in a fraction of its time."""
        python = ["--python", self.folder / "bin" / "python"]
        self._check([UV, "pip", *arguments, *python, "--offline", "--no-cache", "--link-mode=copy"])

    def _check(self, command: Sequence[str | Path]) -> None:
        subprocess.run(command, check=True, capture_output=True, env=self._clean())

    def install(self, *names: str) -> None:
        """Install wheels one after the other, but ours at once where nothing comes between them."""
        wheels = [str(wheel) for name in names for wheel in self.wheels.glob(f"{name}*.whl")]
        assert len(wheels) == len(names)
        for _, together in groupby(wheels, lambda wheel: FOREIGN in wheel):
            getattr(self, INSTALLER)("install", "--quiet", "--no-deps", *together)

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess:
        # Not earlier, because pip would find our own packages there and consider them installed.
        (self.site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
        command = [self.folder / "bin" / program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=self._clean(), check=False, timeout=60)

    def _clean(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture
def environment(tmp_path, wheels):
    return Environment(tmp_path / "environment", wheels)


def is_reported(result):
    return (
        result.returncode != 0
        and "belongs to another project" in result.stderr.splitlines()[-1]
        and "pip uninstall holdfast holdfast-client" in result.stderr.splitlines()[-1]
    )


def in_one_line(result):
    return len(result.stderr.splitlines()) == 1 and result.returncode == 2


def test_our_packages_alone_can_be_imported_and_both_programs_run(environment):
    environment.install(CLIENT, SERVER)
    assert environment.run("python", "-c", "import holdfast; holdfast.Client").returncode == 0
    assert environment.run("holdfast", "--help").returncode == 0
    assert environment.run("holdfast-server", "--help").returncode == 0


@pytest.mark.parametrize("order", [(CLIENT, SERVER, FOREIGN), (FOREIGN, CLIENT, SERVER)])
def test_files_of_both_projects_are_reported_by_imports_and_by_both_programs(environment, order):
    environment.install(*order)
    for module in ("holdfast.adapters.burr", "holdfast.v1.errors_pb2", "holdfast.cli.main", "holdfast._sync.client"):
        assert is_reported(environment.run("python", "-c", f"import {module}")), module
    for program in ("holdfast", "holdfast-server"):
        result = environment.run(program, "--help")
        assert is_reported(result)
        assert in_one_line(result)


def test_our_client_installed_over_the_other_package_is_reported_by_the_import(environment):
    environment.install(FOREIGN, CLIENT)
    assert is_reported(environment.run("python", "-c", "import holdfast"))


def test_files_of_ours_that_an_uninstall_of_the_other_removed_are_reported(environment):
    environment.install(FOREIGN, CLIENT, SERVER)
    environment.pip("uninstall", "--quiet", "--yes", "holdfast")
    for program in ("holdfast", "holdfast-server"):
        result = environment.run(program, "--help")
        assert is_reported(result)
        assert "__init__.py is missing" in result.stderr
        assert in_one_line(result)


def test_the_commands_in_the_message_repair_the_installation(environment):
    environment.install(FOREIGN, CLIENT, SERVER)
    environment.pip("uninstall", "--quiet", "--yes", "holdfast", "holdfast-client")
    environment.install(CLIENT)
    assert environment.run("python", "-c", "import holdfast; holdfast.Client").returncode == 0
    assert environment.run("holdfast-server", "--help").returncode == 0


@pytest.mark.parametrize(("installed", "found"), [((SERVER,), "not installed"), ((SERVER, FOREIGN), "another project")])
def test_a_server_without_our_client_says_so_in_one_line(environment, installed, found):
    environment.install(*installed)
    result = environment.run("holdfast-server", "serve")
    assert f"needs holdfast-client {VERSION}" in result.stderr
    assert found in result.stderr
    assert in_one_line(result)


def test_a_server_with_a_client_of_another_version_says_so_in_one_line(environment):
    environment.install(CLIENT, SERVER)
    package = environment.site / "holdfast" / "_package.py"
    # Of another length: a compiled file counts as current if size and second are those of its source.
    package.write_text(package.read_text().replace(f'VERSION = "{VERSION}"', 'VERSION = "99.9.9"'))
    result = environment.run("holdfast-server", "serve")
    assert f"needs holdfast-client {VERSION}, found 99.9.9" in result.stderr
    assert in_one_line(result)


def test_another_package_earlier_on_the_path_is_named_by_both_programs(environment, tmp_path):
    environment.install(CLIENT, SERVER)
    (environment.site / "aaa.pth").write_text(f"import sys; sys.path.insert(0, {str(tmp_path / 'earlier')!r})\n")
    (tmp_path / "earlier" / "holdfast").mkdir(parents=True)
    (tmp_path / "earlier" / "holdfast" / "__init__.py").write_text("")
    for program in ("holdfast", "holdfast-server"):
        result = environment.run(program, "--help")
        assert str(tmp_path / "earlier" / "holdfast" / "__init__.py") in result.stderr
        assert in_one_line(result)
