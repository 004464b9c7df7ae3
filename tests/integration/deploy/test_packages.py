"""The contents of the image: the built packages in an environment of their own."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.integration.deploy.sources import copy_sources
from tests.support.ports import free_port
from tests.support.repository import ROOT
from tests.support.servers import server

# They install into one environment, in this order.


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Copy the sources as the image gets them, and make an empty environment."""
    folder = tmp_path_factory.mktemp("packages")
    copy_sources(folder)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    return folder


def run(environment, program, *arguments):
    return subprocess.run(
        [environment / "venv" / "bin" / program, *arguments],
        cwd=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout


@pytest.mark.needs_budget("full")
@pytest.mark.timeout(600)
def test_the_client_installs_without_anything_of_the_server(environment):
    run(environment, "pip", "install", "--quiet", "./client")
    installed = {line.split("==")[0].lower() for line in run(environment, "pip", "freeze").splitlines()}
    assert not installed & {"holdfast-server", "aioboto3", "botocore", "opentelemetry-sdk", "rich"}
    assert len(installed) < 12
    run(environment, "python", "-c", "import holdfast; holdfast.Client('127.0.0.1:1').close()")


@pytest.mark.needs_budget("full")
@pytest.mark.timeout(600)
def test_the_client_runs_with_the_oldest_libraries_that_it_allows(environment, tmp_path):
    oldest = environment / "oldest"
    subprocess.run([sys.executable, "-m", "venv", oldest], check=True)
    dependencies = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]["dependencies"]
    pinned = [each.split(",")[0].replace(">=", "==") for each in dependencies]
    subprocess.run([oldest / "bin" / "pip", "install", "--quiet", "./client", *pinned], cwd=environment, check=True)
    program = "\n".join(
        [
            "import holdfast, sys",
            "with holdfast.Client(sys.argv[1]) as client:",
            "    client.save('n', 'w', bytes(3_000_000), format=holdfast.Format('f', 1))",
            "    assert client.load('n', 'w').data == bytes(3_000_000)",
        ]
    )
    with server(tmp_path.as_uri()) as target:
        subprocess.run([oldest / "bin" / "python", "-W", "error", "-c", program, target], check=True, timeout=60)


@pytest.mark.needs_budget("full")
@pytest.mark.timeout(600)
def test_the_server_serves_as_the_image_starts_it_and_its_health_check_passes(environment):
    shutil.copytree(ROOT / "requirements", environment / "requirements")
    build_stage = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", "").split("\nFROM")[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    clean["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command in re.findall(r"(?m)^RUN (.*)$", build_stage):
        script = command.replace("/opt/", f"{environment}/opt/")
        subprocess.run(["sh", "-ec", script], cwd=environment, env=clean, check=True, timeout=300)
    port = free_port()
    check = [environment / "opt" / "holdfast" / "bin" / "holdfast-server", "health", "--target", f"127.0.0.1:{port}"]
    assert subprocess.run(check, check=False).returncode == 1
    store = (environment / "data").as_uri()
    settings = {"HOLDFAST_LISTEN": f"0.0.0.0:{port}", "HOLDFAST_STORE": store, "HOLDFAST_INSECURE": "on"}
    server = subprocess.Popen([check[0], "serve"], env=settings, stdout=subprocess.PIPE, text=True, cwd=environment)
    try:
        assert "listens on" in server.stdout.readline()
        assert subprocess.run(check, check=False).returncode == 0
    finally:
        server.terminate()
    assert server.wait(30) == 0
