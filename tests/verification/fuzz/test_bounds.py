"""The cost of foreign bytes is bounded: each bomb is parsed in a process with little memory and CPU time left."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
from crc32c import crc32c
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api.streaming.incoming import Incoming
from holdfast_server.protocol.format.bounded_read import MAX_MARKER_BYTES
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.stores.memory import MemoryStore

from tests.support.frames import HEAD
from tests.support.markers import sound
from tests.support.repository import ROOT

MIB = 1 << 20
# Enough to parse the largest marker that is read.
ROOM = 512 * MIB
# Only a parser that does not end takes so long.
CPU_SECONDS = 60


def _framed(body: bytes) -> bytes:
    return HEAD.pack(b"HFMK", 1, 0, len(body), crc32c(body)) + body


def _ranges() -> bytes:
    """Return the largest number of deleted ranges that fits a marker, each of a revision of four bytes."""
    head = sound(16**9 - 1).SerializeToString()
    count = (MAX_MARKER_BYTES - HEAD.size - len(head)) // 14
    coded = (_varint(2 * index + 2**21) for index in range(count))
    return head + b"".join(b"\xaa\x01\x0a\x08%b\x10%b" % (number, number) for number in coded)


def _varint(number: int) -> bytes:
    """Encode a number as a varint of four bytes."""
    return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14 & 127 | 128, number >> 21))


BOMBS = {
    "marker-of-4-gib": ("marker", lambda: b"\1\0" + HEAD.pack(b"HFMK", 1, 0, 2**32 - 1, 0) + b"x" * 100),
    "marker-of-many-ranges": ("marker", lambda: b"\1\0" + _framed(_ranges())),
    "marker-of-many-recent-entries": ("marker", lambda: b"\1\0" + _framed(b"\xa2\x01\x02\x08\x01" * 4_000_000)),
    "marker-of-groups-within-groups": ("marker", lambda: b"\1\0" + _framed(b"\x83\x7d" * 4_000_000)),
    "marker-of-unknown-fields": ("marker", lambda: b"\1\0" + _framed(b"\x80\x7d\x01" * 4_000_000)),
    "token-of-workflows-of-4-mib": ("tokens", lambda: b"\0" + b"A" * (4 * MIB)),
    "token-of-revisions-of-4-mib": ("tokens", lambda: b"\1" + b"9" * (4 * MIB)),
    "manifest-of-64-mib": ("manifest", lambda: b'{"layoutVersion": 1}' + b" " * (64 * MIB)),
    "manifest-of-arrays-within-arrays": ("manifest", lambda: b"[" * 60_000),
    "failure-of-many-details": ("failures", lambda: b"\0\xff\xff\xff" + b"\x1a\x00" * 32_767),
    "configuration-of-arrays-within-arrays": ("config", lambda: b"\2\0" + b"workers = " + b"[" * MIB),
    "position-of-4-mib": ("position", lambda: b"\1" + b"9" * (4 * MIB) + b":0"),
    "key-of-4-mib": ("keys", lambda: b"\2" + b"a/" * (2 * MIB)),
}
PROGRAM = """
import resource, sys
from tests.verification.fuzz.inputs import check
# The memory in use by now belongs to the process, not to the bomb.
check({target!r}, b"")
data = sys.stdin.buffer.read()
with open("/proc/self/statm") as statm:
    taken = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + {room}, taken + {room}))
resource.setrlimit(resource.RLIMIT_CPU, ({cpu_seconds}, {cpu_seconds}))
check({target!r}, data)
"""


def _go_off(target: str, data: Callable[[], bytes], room: int = ROOM) -> "subprocess.CompletedProcess[bytes]":
    program = PROGRAM.format(target=target, room=room, cpu_seconds=CPU_SECONDS)
    return subprocess.run([sys.executable, "-c", program], input=data(), capture_output=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_or_taken_within_its_limits(bomb):
    done = _go_off(*BOMBS[bomb])
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_a_process_without_room_is_noticed():
    done = _go_off(*BOMBS["marker-of-many-ranges"], room=8 * MIB)
    assert done.returncode != 0
    assert b"MemoryError" in done.stderr


class Sink(MemoryStore):
    """A writer that discards its data."""

    @asynccontextmanager
    async def put(self, key):
        yield self

    async def write(self, data):
        pass

    async def finish(self):
        pass


async def test_an_upload_of_any_size_holds_no_more_than_its_inline_limit_and_a_chunk():
    async def messages():
        data = bytes(MIB)
        for part in range(100):
            for offset in (0, MIB):
                chunk = {"part": str(part), "offset": offset, "data": data, "crc32c": crc32c(data)}
                yield api.SaveStreamRequest(chunk=chunk)
        yield api.SaveStreamRequest(finish={"size_bytes": 200 * MIB})

    incoming = Incoming(Sink(), WorkflowKeys("n", "w"), 0, inline_limit_bytes=MIB, payload_limit_bytes=1 << 40)
    tracemalloc.start()
    try:
        assert len(await incoming.receive(messages())) == 100
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB
