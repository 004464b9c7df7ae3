"""Files and streams of the command: results are whole, failures are one line with the right exit code."""

import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import holdfast
import pytest

from tests.unit.client.cli.command import EXECUTABLE, clean_environment

FORMAT = holdfast.Format("f", 1)
BIG = os.urandom(3 << 20)
SAVE = "$HOLDFAST save n w --format f:1"


def in_one_line(err, *words):
    assert len(err.splitlines()) == 1, err
    assert err.startswith("holdfast")
    assert "Traceback" not in err
    for word in words:
        assert word in err


@pytest.mark.parametrize("data", [b"", b"small", BIG], ids=["empty", "small", "large"])
async def test_a_pipe_is_saved_whole_by_any_name(shell, client, tmp_path, data):
    (tmp_path / "in").write_bytes(data)
    file = tmp_path / "in"
    os.mkfifo(tmp_path / "fifo")
    lines = [
        f"{SAVE} <(cat {file})",
        f"cat {file} | {SAVE} /dev/stdin",
        f"cat {file} | {SAVE} -",
        f"{SAVE} /dev/stdin < {file}",
        f"{SAVE} - < {file}",
        f"cat {file} > {tmp_path / 'fifo'} & {SAVE} {tmp_path / 'fifo'}",
        f"{SAVE} --part =<(cat {file})",
    ]
    for line in lines:
        code, _, err = await shell(line)
        assert (code, err) == (0, ""), line
        assert (await client.load("n", "w")).data == data, line


async def test_a_file_of_proc_whose_size_is_0_is_saved_whole(shell, client):
    assert (await shell(f"{SAVE} /proc/self/status"))[0] == 0
    assert b"VmRSS" in (await client.load("n", "w")).data


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (f"{SAVE} - <&-", "stdin: it is closed"),
        (f"{SAVE} /nonexistent", "/nonexistent: No such file"),
        (f"{SAVE} /dev/zero", "/dev/zero: is a device, which may have no end"),
        (f"{SAVE} --part a=/dev/urandom", "/dev/urandom: is a device, which may have no end"),
        (f"{SAVE} - </dev/zero", "stdin: is a device, which may have no end"),
        (f"{SAVE} /tmp", "/tmp: is a directory"),
        (f"{SAVE} --part a=/tmp", "/tmp: is a directory"),
        (f"{SAVE} $'/tmp/\\x1b[31m'", "\\x1b[31m: No such file"),
        (f"{SAVE} ''", "takes either one FILE"),
    ],
)
async def test_a_file_that_cannot_be_read_is_a_usage_error_and_saves_nothing(shell, client, line, word):
    code, out, err = await shell(line)
    assert (code, out) == (2, b"")
    in_one_line(err, word)
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await client.load("n", "w")


async def test_a_result_replaces_a_file_as_a_whole_and_keeps_its_mode_and_its_links(run, client, tmp_path):
    await client.save("n", "w", b"new", format=FORMAT)
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert (await run("load", "n", "w", "-o", str(link)))[0] == 0
    assert target.read_bytes() == b"new"
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert (await run("load", "n", "w", "-o", str(tmp_path / "made")))[0] == 0
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o666 & ~mask
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["link", "made", "target"]


async def test_a_failed_write_leaves_the_file_unchanged_and_no_temporary_file(shell, client, tmp_path):
    await client.save("n", "w", BIG, format=FORMAT)
    (tmp_path / "out").write_bytes(b"old")
    # A limit on the size of files fails a write as a full disk does.
    line = f"trap '' XFSZ; ulimit -f 1024; $HOLDFAST load n w --output {tmp_path / 'out'}"
    code, out, err = await shell(line)
    assert (code, out) == (9, b"")
    in_one_line(err, "File too large", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(("out", "."))] == ["out"]


async def test_a_failed_load_leaves_the_file_unchanged(run, tmp_path):
    (tmp_path / "out").write_bytes(b"old")
    assert (await run("load", "n", "nobody", "--output", str(tmp_path / "out")))[0] == 3
    assert (tmp_path / "out").read_bytes() == b"old"


async def test_an_output_that_cannot_be_a_file_is_a_usage_error(run, client, tmp_path):
    await client.save("n", "w", b"x", format=FORMAT)
    for place, word in (
        (tmp_path, "is a directory"),
        (tmp_path / "no" / "f", "does not exist"),
        ("", "must not be empty"),
    ):
        code, out, err = await run("load", "n", "w", "--output", str(place))
        assert (code, out) == (2, b"")
        in_one_line(err, word)


async def test_a_result_goes_into_pipes_and_devices(shell, client, tmp_path):
    await client.save("n", "w", BIG, format=FORMAT)
    for place in ("/dev/stdout", "-"):
        code, out, err = await shell(f"$HOLDFAST load n w --output {place}")
        assert (code, out[: len(BIG)], err) == (0, BIG, ""), place
    assert (await shell("$HOLDFAST load n w --output /dev/null"))[0] == 0
    code, _, err = await shell(f"$HOLDFAST load n w --output >(cat > {tmp_path / 'out'}); sleep 0.2; wait")
    assert (code, err) == (0, "")
    code, _, err = await shell("$HOLDFAST load n w --output /dev/full")
    assert code == 9
    in_one_line(err, "/dev/full: No space left on device")


@pytest.mark.parametrize("command", ["load n w", "list n w", "list n w --json", "history n w", "--help", "--version"])
async def test_a_full_stdout_is_one_line(shell, client, command):
    await client.save("n", "w", BIG, format=FORMAT)
    code, _, err = await shell(f"$HOLDFAST {command} > /dev/full")
    assert code == 9
    in_one_line(err, "stdout: No space left on device")
    code, _, err = await shell(f"$HOLDFAST {command} >&-")
    assert code == 9
    in_one_line(err, "stdout")


@pytest.mark.parametrize("command", ["load n w", "list n w", "list n w --json", "history n w --json", "--help"])
async def test_a_closed_pipe_ends_the_command_silently_with_the_code_of_sigpipe(shell, client, command):
    await client.save("n", "w", BIG, format=FORMAT)
    code, _, err = await shell(f"$HOLDFAST {command} | true; exit ${{PIPESTATUS[0]}}")
    assert (code, err) == (141, "")


@pytest.mark.parametrize(("sink", "code"), [("> /dev/full", 9), ("| true", 141), (">&-", 9)])
async def test_a_save_whose_answer_cannot_be_printed_says_that_it_saved(shell, client, sink, code):
    line = f"{SAVE} /etc/hostname {sink}; exit ${{PIPESTATUS[0]}}"
    found, _, err = await shell(line)
    assert found == code
    in_one_line(err, "the command was carried out")
    assert (await client.load("n", "w")).revision == 1


@pytest.mark.parametrize("sink", ["2> /dev/full", "2>&-", "2> >(exit 0)"])
async def test_an_error_keeps_its_exit_code_if_stderr_cannot_be_written(shell, sink):
    assert await shell(f"$HOLDFAST load n nobody {sink}") == (3, b"", "")
    assert await shell(f"$HOLDFAST load n {sink}") == (2, b"", "")


async def test_all_streams_may_be_closed(shell, client):
    code, _, _ = await shell(f"{SAVE} /etc/hostname <&- >&- 2>&-")
    assert code == 9
    assert (await client.load("n", "w")).revision == 1


async def test_a_binary_payload_is_not_shown_at_a_terminal(at_terminal, client, tmp_path):
    await client.save("n", "w", b"\x1b[31m\x00", format=FORMAT)
    for place in ((), ("--output", "/dev/tty")):
        code, shown = await at_terminal("load", "n", "w", *place)
        if place and b"No such device" in shown:
            continue
        assert code == 2
        assert b"\x1b[31m" not in shown
        assert b"goes to a terminal: use --output FILE, or a pipe" in shown
    assert (await at_terminal("load", "n", "w", "--output", str(tmp_path / "out")))[0] == 0
    assert (tmp_path / "out").read_bytes() == b"\x1b[31m\x00"


async def test_a_text_is_shown_at_a_terminal(at_terminal, client):
    await client.save("n", "w", '{"state": "Grüße"}'.encode(), format=FORMAT)
    code, shown = await at_terminal("load", "n", "w")
    assert code == 0
    assert '{"state": "Grüße"}'.encode() in shown


async def test_a_progress_bar_at_a_terminal_does_not_hide_the_result(at_terminal, client, tmp_path):
    await client.save("n", "w", BIG, format=FORMAT)
    code, shown = await at_terminal("load", "n", "w", "--output", str(tmp_path / "out"))
    assert code == 0
    assert b"3.1 MB" in shown
    assert (tmp_path / "out").read_bytes() == BIG


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_silently(number, code):
    # The command reads stdin, which does not end.
    with subprocess.Popen(
        [EXECUTABLE, "save", "n", "w", "-", "--format", "f:1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(HOLDFAST_TARGET="127.0.0.1:9"),
    ) as process:
        # The command is reading once more bytes were written than a pipe holds.
        process.stdin.write(bytes(1 << 20))
        process.stdin.flush()
        # Python handles a signal that comes just before a read only after it.
        while not waits_for_input(process.pid):
            time.sleep(0.01)
        kill = threading.Timer(30, process.kill)
        kill.start()
        process.send_signal(number)
        out, err = process.stdout.read(), process.stderr.read()
        process.stdin.close()
        assert (process.wait(), out, err) == (code, b"", b"")
        kill.cancel()


def waits_for_input(pid):
    """Return whether a process was asleep for a while."""
    for _ in range(20):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            return False
        time.sleep(0.005)
    return True
