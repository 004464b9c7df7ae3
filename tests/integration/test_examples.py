"""Every program of examples/ runs as its docstring says, and the demonstration prints readable output."""

import os
import pty
import re
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.repository import ROOT
from tests.support.required import require_engine
from tests.support.servers import server


@pytest.fixture
def target(tmp_path):
    with server(tmp_path.as_uri()) as target:
        yield target


def command(name, *arguments):
    return [sys.executable, "-W", "error", "-m", f"examples.{name}", *arguments]


def output_of(name, target):
    result = subprocess.run(command(name, target), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return result.stdout.splitlines()


def test_the_quickstart_continues_where_it_was_killed(target):
    with subprocess.Popen(command("quickstart", target), cwd=ROOT, stdout=subprocess.PIPE, text=True) as killed:
        assert "saved step 3\n" in iter(killed.stdout.readline, "")
        killed.kill()
    continued, *steps = output_of("quickstart", target)
    last_step = int(re.fullmatch(r"continued after step (\d+)", continued)[1])
    assert last_step >= 3
    assert steps == [*(f"saved step {step}" for step in range(last_step + 1, 11)), "the sum is 55"]
    assert output_of("quickstart", target) == ["continued after step 10", "the sum is 55"]


def test_the_asynchronous_jobs_finish_and_the_history_lists_their_steps(target):
    lines = output_of("asynchronous", target)
    assert sorted(lines[:3]) == ["anna is at step 3", "ben is at step 3", "cara is at step 3"]
    assert [line.split(",")[0] for line in lines[3:]] == [
        "revision 4: step 3",
        "revision 3: step 2",
        "revision 2: step 1",
    ]
    assert output_of("asynchronous", target)[3:] == lines[3:]


def test_the_first_worker_is_fenced(target):
    assert output_of("fencing", target) == [
        "the first worker has epoch 1",
        "the second worker has epoch 2",
        "the first worker was refused: WRITER_FENCED",
        "the job is at 2",
    ]


def test_the_old_checkpoint_is_migrated(target):
    assert output_of("migrations", target) == [
        "without the migration: FORMAT_INCOMPATIBLE",
        'with the migration: {"first": "Ada", "last": "Lovelace"}',
    ]


def test_the_agent_continues_after_its_approval(target):
    require_engine("langgraph.graph")
    [waiting] = output_of("langgraph_agent", target)
    assert waiting.startswith("waiting for approval of {'order': 17, 'euros': 40}")
    assert output_of("langgraph_agent", target) == ["Done: 40 euros refunded."]


def test_every_example_has_a_test():
    programs = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__init__", "word_statistics"}
    assert programs == {"asynchronous", "console", "demo", "fencing", "langgraph_agent", "migrations", "quickstart"}


@pytest.mark.timeout(300)
def test_the_demo_on_a_terminal_is_coloured_and_names_its_log(tmp_path):
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen(command("demo"), cwd=ROOT, stdout=theirs, env=environment)
    os.close(theirs)
    written = b""
    # Linux reports the end of the other side as an error.
    with suppress(OSError), open(ours, "rb", buffering=0) as terminal:
        while block := terminal.read(65536):
            written += block
    assert demo.wait(30) == 0
    text = written.decode()
    assert "\033[32mok\033[0m both runs have the same result" in text
    assert not [line for line in text.splitlines() if line.startswith("{")]
    log = re.search(r"The log of the server: (\S+)", text)[1]
    assert "listens on" in Path(log).read_text()


def test_the_demo_ends_quietly_if_nobody_reads_its_output(tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command("demo"), cwd=ROOT, env=environment, **pipes) as demo:
        demo.stdout.readline()
        demo.stdout.close()
        assert demo.stderr.read() == ""
        assert demo.wait(60) == 141


def test_the_store_of_the_example_is_shown_in_the_console_and_removed_at_its_end(tmp_path):
    command = [sys.executable, "-m", "examples.console", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as process:
        try:
            line = process.stdout.readline()
            url = re.search(r"http://\S+", line)[0]
            with urllib.request.urlopen(f"{url}/n/examples", timeout=60) as answer:
                page = answer.read().decode()
            assert all(name in page for name in ("finished", "damaged", "forked", "deleted", "old-format"))
        finally:
            process.terminate()
    assert list(tmp_path.iterdir()) == []
