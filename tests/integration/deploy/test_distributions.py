"""The wheels and source distributions as they are released: complete, accepted by the registry's check, installable."""

import email
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
from holdfast._package import VERSION

from tests.integration.deploy.sources import copy_sources
from tests.support.budget import amount
from tests.support.repository import ROOT

NAMES = {"client": "holdfast_client", "server": "holdfast_server"}
# An isolated build installs its tools first.
ISOLATION = amount(small=["--no-isolation"], full=[])


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Build both source distributions, and wheels from them. Return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    copy_sources(folder)
    for name in NAMES:
        command = [sys.executable, "-m", "build", *ISOLATION, "--outdir", str(folder / "dist"), str(folder / name)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return folder / "dist"


def wheel(dist, name):
    return dist / f"{NAMES[name]}-{VERSION}-py3-none-any.whl"


@pytest.mark.timeout(600)
def test_the_distributions_pass_the_registrys_check(dist):
    files = sorted(dist.iterdir())
    assert len(files) == 4
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_a_source_distribution_contains_its_readme_license_and_version(dist, name):
    with tarfile.open(dist / f"{NAMES[name]}-{VERSION}.tar.gz") as archive:
        for file in ("README.md", "LICENSE"):
            member = archive.extractfile(f"{NAMES[name]}-{VERSION}/{file}")
            assert member.read() == (ROOT / name / file).read_bytes()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_has_complete_metadata(dist, name):
    with zipfile.ZipFile(wheel(dist, name)) as archive:
        info = f"{NAMES[name]}-{VERSION}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        files = {file for file in archive.namelist() if not file.startswith(info)}
    assert (metadata["Version"], metadata["License-Expression"]) == (VERSION, "Apache-2.0")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().startswith(f"# holdfast-{name}\n")
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    package = {"client": "holdfast", "server": "holdfast_server"}[name]
    source = {str(path.relative_to(ROOT / name)) for path in (ROOT / name / package).rglob("*.py*")}
    assert {file for file in source if "__pycache__" not in file} <= files
    assert f"{package}/py.typed" in files


@pytest.mark.needs_budget("full")
@pytest.mark.timeout(600)
def test_the_wheels_install_into_an_empty_environment(dist, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def run(program, *arguments):
        command = [tmp_path / "venv" / "bin" / program, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=clean, check=True, capture_output=True, text=True).stdout

    run("pip", "install", "--quiet", f"{wheel(dist, 'client')}[cli]", wheel(dist, "server"))
    run("pip", "check")
    assert run("python", "-c", "import holdfast; print(holdfast.__version__)") == f"{VERSION}\n"
    assert run("holdfast-server", "--version") == f"holdfast-server {VERSION}\n"
    assert run("holdfast", "--version").startswith(f"holdfast {VERSION}")
