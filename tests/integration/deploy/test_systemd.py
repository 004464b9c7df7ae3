"""The systemd unit: systemd accepts it, it exposes little, and a server runs within what it forbids."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import holdfast
import pytest
from holdfast_server.config_sources import load

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
