"""Streamed saves that break and resume: any sequence of steps of callers, connections and the store."""

from tests.support.inline_loop import run
from tests.verification.fuzz.reader import Reader
from tests.verification.fuzz.uploads import PAYLOADS, Uploads

_REQUESTS = tuple(PAYLOADS)


def check(data: bytes) -> None:
    run(_check(Reader(data)))


async def _check(reader: Reader) -> None:
    uploads = Uploads()
    try:
        for _ in range(200):
            if reader.is_used_up:
                break
            await _step(uploads, reader)
    finally:
        await uploads.close()


async def _step(uploads: Uploads, reader: Reader) -> None:
    kind = reader.below(12)
    if kind == 0 or not uploads.streams:
        if len(uploads.streams) < 4:
            uploads.begin(reader.choice(_REQUESTS), resumes=bool(reader.below(4)))
    elif kind == 1:
        uploads.store.fails_next = True
    elif kind == 2:
        uploads.send_wrong(reader.choice(uploads.streams), reader.byte())
    elif kind == 3:
        uploads.end(reader.choice(uploads.streams))
    elif kind == 4:
        uploads.cancel(reader.choice(uploads.streams))
    else:
        for _ in range(reader.below(8) + 1):
            uploads.send(reader.choice(uploads.streams[-1:]) if kind > 6 else reader.choice(uploads.streams))
            if kind % 2:
                await uploads.turn(9)
                if not uploads.streams:
                    return
    await uploads.turn(reader.below(12))
