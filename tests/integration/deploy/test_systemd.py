"""The systemd unit: systemd accepts it, it exposes little, and a server runs within what it forbids."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import holdfast
import pytest
from holdfast_server.config_sources import load
from holdfast_server.listen_address import is_loopback

from tests.integration.deploy.sources import copy_sources
from tests.support.repository import ROOT
from tests.support.required import require
from tests.support.servers import start

FOLDER = ROOT / "deploy" / "systemd"
# Of 10, which is a service that nothing restricts.
_MAX_EXPOSURE = 2.0
# Refuse memory that is both writable and executable from now on, then run a program: as MemoryDenyWriteExecute does.
_DENY = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    print("the kernel cannot refuse it", file=sys.stderr)
os.umask(0o077)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def unit(tmp_path):
    """Return the unit with a program that exists here."""
    require("" if shutil.which("systemd-analyze") else "systemd-analyze not found: .ci/run installs systemd")
    text = (FOLDER / "holdfast.service").read_text()
    command = re.search(r"ExecStart=(\S+)", text)[1]
    path = tmp_path / "holdfast.service"
    path.write_text(text.replace(command, sys.executable).replace("User=holdfast", "User=root"))
    return path


@pytest.mark.needs_budget("full")
def test_systemd_accepts_the_unit(unit):
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs_budget("full")
def test_the_unit_exposes_little(unit):
    text = unit.read_text().replace("User=root", "User=nobody")
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, check=True
    )
    assert float(re.search(r"exposure level for holdfast.service: ([\d.]+)", done.stdout)[1]) <= _MAX_EXPOSURE


def test_the_settings_of_the_unit_are_valid():
    config = load({"config": str(FOLDER / "holdfast.toml")}, {}, Path("/"))
    assert (config.store, config.metrics_listen) == ("file:///var/lib/holdfast", "127.0.0.1:9464")
    config.require_protected_listen()


def test_the_console_of_the_unit_is_off_and_its_setting_keeps_it_on_this_machine(tmp_path):
    text = (FOLDER / "holdfast.toml").read_text()
    assert load({"config": str(FOLDER / "holdfast.toml")}, {}, Path("/")).console_listen == ""
    path = tmp_path / "holdfast.toml"
    path.write_text(text.replace("# console_listen", "console_listen"))
    assert is_loopback(load({"config": str(path)}, {}, Path("/")).console_listen)


@pytest.mark.needs_budget("full")
@pytest.mark.timeout(600)
def test_the_commands_of_the_guide_install_what_the_unit_starts(tmp_path):
    page = (ROOT / "docs" / "guides" / "operations.md").read_text()
    [commands] = re.findall(r"```console\n(useradd .*?)```", page, re.DOTALL)
    copy_sources(tmp_path)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", ".", "./client", "./server"], cwd=tmp_path, check=True)
    shutil.copytree(FOLDER, tmp_path / "deploy" / "systemd")
    programs = tmp_path / "programs"
    programs.mkdir()
    # They would change this machine.
    for name in ("useradd", "systemctl"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/commands\n')
        (programs / name).chmod(0o755)
    (tmp_path / "etc" / "systemd" / "system").mkdir(parents=True)
    script = commands.replace(" /opt/", f" {tmp_path}/opt/").replace(" /etc/", f" {tmp_path}/etc/")
    script = re.sub(r"^/opt/", f"{tmp_path}/opt/", script, flags=re.MULTILINE).replace(
        'install "', 'install --no-deps "'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, env=environment, check=True)
    started = re.search(r"ExecStart=(\S+) serve --config (\S+)", (FOLDER / "holdfast.service").read_text())
    assert all(Path(f"{tmp_path}{each}").exists() for each in started.groups())
    assert (tmp_path / "etc" / "systemd" / "system" / "holdfast.service").exists()
    done = (tmp_path / "commands").read_text().splitlines()
    assert [each.split()[0:2] for each in done] == [
        ["useradd", "--system"],
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable"],
    ]


@pytest.mark.needs_budget("full")
async def test_a_server_runs_without_memory_that_is_writable_and_executable(tmp_path):
    process, target = start(tmp_path.as_uri(), within=[sys.executable, "-c", _DENY])
    try:
        async with holdfast.AsyncClient(target) as client:
            await client.save("n", "w", bytes(3_000_000), format=holdfast.Format("f", 1))
            assert (await client.load("n", "w")).data == bytes(3_000_000)
    finally:
        process.terminate()
        assert process.wait(30) == 0
