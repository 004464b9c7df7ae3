"""A record of a program's system calls on files, made by strace, with every byte written."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Record calls on files that the model of the disk does not know too, so that the replay fails on them.
_RECORDED = (
    "openat,open,creat,openat2,close,close_range,dup,dup2,dup3,fcntl,write,pwrite64,writev,pwritev,pwritev2,sendfile,"
    "copy_file_range,splice,fsync,fdatasync,sync,syncfs,sync_file_range,link,linkat,symlink,symlinkat,rename,renameat,"
    "renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,truncate,ftruncate,fallocate,chmod,fchmod,fchmodat,mknod,mknodat,"
    "clone,clone3,fork,vfork,execve"
)
_LONGEST_WRITE = 1 << 20
_LINE = re.compile(r"(\d+) +(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\) += (\S+)(?: (E[A-Z0-9]+))?.*", re.DOTALL)
_MARKS = re.compile(r"[][{}(),]")


@dataclass(frozen=True)
class Call:
    """A system call.

    Attributes:
        thread: the id of its thread.
        name: its name.
        arguments: in strace's form.
        result: its result; None if it never returned.
        error: the name of its error, or "".
        began: the place of its beginning in the record; `ended` is that of its end.

    """

    thread: int
    name: str
    arguments: tuple[str, ...]
    result: int | None
    error: str
    began: float
    ended: float


def recorded(command: Sequence[str], record: Path, *faults: str) -> list[Call]:
    """Run a program. Return its system calls and those of its children, ordered by their beginnings.

    Args:
        command: the program and its arguments.
        record: a file for the record.
        faults: what strace is to inject, such as "fsync:error=EIO:when=3".

    """
    injected = [flag for fault in faults for flag in ("-e", f"inject={fault}")]
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-xx", "-s", str(_LONGEST_WRITE)]
    options = ["-o", str(record), "-e", f"trace={_RECORDED}", *injected]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*strace, *options, *command], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(_parsed(record.read_text().splitlines()))


def missing() -> str:
    """Return why nothing can be recorded here; "" if it can."""
    if shutil.which("strace") is None:
        return "strace not found"
    probe = subprocess.run(["strace", "-f", "--seccomp-bpf", "true"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "strace may not trace here"


def text(argument: str) -> str:
    """Decode a string argument."""
    return data(argument).decode()


def data(argument: str) -> bytes:
    """Bytes among the arguments.

    Raises:
        ValueError: the record does not hold all of them.

    """
    if not argument.startswith('"') or not argument.endswith('"'):
        raise ValueError(f"no whole string: {argument[:40]}")
    return bytes.fromhex(argument[1:-1].replace("\\x", ""))


def _parsed(lines: Sequence[str]) -> Iterator[Call]:
    calls: list[Call] = []
    open_calls: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        match = _LINE.fullmatch(line)
        assert match is not None, line
        thread, what = int(match[1]), match[2]
        began = number
        if what.endswith("<unfinished ...>"):
            open_calls[thread] = number, what.removesuffix("<unfinished ...>")
            continue
        if what.startswith("<... "):
            began, first = open_calls.pop(thread)
            what = first + what.partition(" resumed>")[2]
        call = _WHOLE.fullmatch(what)
        if call is None:
            assert what.startswith(("+++", "---")), what
            continue
        result = None if call[3] == "?" else int(call[3], 0)
        calls.append(Call(thread, call[1], tuple(_split(call[2])), result, call[4] or "", began, number))
    for thread, (began, what) in open_calls.items():
        name, _, rest = what.partition("(")
        calls.append(Call(thread, name, tuple(_split(rest)), None, "", began, len(lines)))
    yield from sorted(calls, key=lambda call: call.began)


def _split(arguments: str) -> Iterator[str]:
    """Split the arguments, which may be structures. Strings contain no commas or brackets: they are in hex."""
    depth, start = 0, 0
    # Strings are long: no step for each of their letters.
    for mark in _MARKS.finditer(arguments):
        depth += (mark[0] in "[{(") - (mark[0] in "]})")
        if mark[0] == "," and depth == 0:
            yield arguments[start : mark.start()].strip()
            start = mark.end()
    if arguments[start:].strip():
        yield arguments[start:].strip()
