"""The console as a process of its own, and beside a server."""

import json
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import holdfast
import pytest

from tests.support.console_pages import FORMAT
from tests.support.servers import EXECUTABLE


@contextmanager
def running(*arguments):
    """Run a command, yield its first line and its process, and end it by SIGTERM."""
    process = subprocess.Popen([*EXECUTABLE, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def read(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def test_a_folder_has_a_console(tmp_path):
    target = (tmp_path / "store").as_uri()
    with holdfast.Client(target) as client:
        client.save("n", "run-1", b"x", format=FORMAT)
    with running("console", "--target", target, "--listen", "127.0.0.1:0") as line:
        assert line["url"] == f"http://{line['address']}"
        assert "run-1" in read(f"{line['url']}/n/n")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_has_a_console_in_one_of_its_processes(tmp_path, workers):
    flags = ["--listen", "127.0.0.1:0", "--store", str(tmp_path / "store"), "--workers", workers]
    process = subprocess.Popen(
        [*EXECUTABLE, "serve", *flags, "--console-listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [json.loads(process.stdout.readline()) for _ in range(int(workers))]
        [url] = [line["console_url"] for line in lines if "console_url" in line]
        with holdfast.Client(lines[0]["address"]) as client:
            client.save("n", "run-1", b"x", format=FORMAT)
        assert "run-1" in read(f"{url}/n/n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("command", [["console"], ["serve", "--listen", "127.0.0.1:0", "--console-listen"]])
def test_a_console_that_is_not_installed_is_named_with_its_extra(tmp_path, command):
    script = "import sys; sys.modules['starlette'] = None; from holdfast_server.main import main; main()"
    given = [*command, "127.0.0.1:0", "--store", str(tmp_path)] if command[0] == "serve" else command
    done = subprocess.run(
        [sys.executable, "-c", script, *given], check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1
    assert "pip install 'holdfast-server[console]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_that_is_in_use_is_named(tmp_path):
    with running("console", "--target", tmp_path.as_uri(), "--listen", "127.0.0.1:0") as line:
        done = subprocess.run(
            [*EXECUTABLE, "console", "--target", tmp_path.as_uri(), "--listen", line["address"]],
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.returncode == 1
    assert f"cannot listen on {line['address']}" in done.stderr
