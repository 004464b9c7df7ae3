"""The server never imports modules from the working folder."""

from pathlib import Path

import holdfast
import pytest

from tests.support.repository import ROOT
from tests.support.servers import children, start

# Modules that the server or its libraries import late, and names of its own packages.
NAMES = ["uuid", "marshal", "signal", "struct", "json", "holdfast", "holdfast_server", "grpc", "asyncio", "logging"]


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_no_module_of_the_working_folder_runs(tmp_path, monkeypatch, flags):
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in NAMES:
        (trap / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'a').write({name!r} + ' ')\n")
    monkeypatch.chdir(trap)
    # The installed program starts without the working folder on its path.
    process, target = start((tmp_path / "store").as_uri(), *flags, environment={"PYTHONSAFEPATH": "1"})
    try:
        with holdfast.Client(target, timeout=20) as client:
            assert client.save("n", "w", b"x", format=holdfast.Format("f", 1)).revision == 1
        # Each process has the flag itself instead of relying on the environment.
        started = children(process.pid)
        assert len(started) == (2 if flags else 0)
        for pid in started:
            assert b"\0-P\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert not (tmp_path / "sprung").exists()


def test_the_working_folder_of_the_image_is_not_the_store():
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    [store] = [line.split("file://")[1].split()[0] for line in lines if "HOLDFAST_STORE=" in line]
    assert [line for line in lines if line.startswith("WORKDIR")][-1] == "WORKDIR /"
    assert store != "/"
