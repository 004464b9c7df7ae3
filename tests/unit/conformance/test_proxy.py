"""The proxy does to connections what cases ask of it."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from conformance.proxy import Proxy


def frame(kind, payload):
    """Return a frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + (1).to_bytes(4, "big") + payload


DATA, HEADERS, PING = 0x0, 0x1, 0x6


@asynccontextmanager
async def proxied():
    """Run a proxy before a server that sends what a test writes. Yield the proxy, the server's writers, a client."""
    writers = asyncio.Queue()
    received = asyncio.Queue()

    async def serve(reader, writer):
        writers.put_nowait(writer)
        while data := await reader.read(65536):
            received.put_nowait(data)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Proxy(target).running() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        yield proxy, await writers.get(), (reader, writer), received
        writer.transport.abort()


async def ended(reader):
    """Wait until a connection has ended, and return what came before."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_bytes_pass_both_ways():
    async with proxied() as (_, server, (reader, writer), received):
        writer.write(b"request")
        assert await received.get() == b"request"
        server.write(frame(DATA, b"answer"))
        assert await reader.readexactly(15) == frame(DATA, b"answer")


async def test_answers_are_cut_after_so_many_bytes():
    async with proxied() as (proxy, server, (reader, _), _):
        proxy.stop_answers(5)
        server.write(b"123456")
        assert await ended(reader) == b""
        assert proxy.has_cut.is_set()
        assert proxy.cuts == 1


async def test_requests_are_cut_after_so_many_bytes():
    async with proxied() as (proxy, _, (reader, writer), received):
        proxy.stop_requests(5)
        writer.write(b"123456")
        assert await ended(reader) == b""
        assert proxy.has_cut.is_set()
        assert received.empty()


async def test_a_connection_goes_silent_and_others_do_not():
    async with proxied() as (proxy, _, (_, writer), received):
        proxy.stop_requests(5, silent=True)
        writer.write(b"123456")
        await proxy.has_cut.wait()
        _, other = await asyncio.open_connection("127.0.0.1", proxy.port)
        other.write(b"other")
        assert await received.get() == b"other"
        assert not writer.is_closing()
        other.transport.abort()


async def test_an_answer_is_held_back_and_what_comes_before_it_is_not():
    async with proxied() as (proxy, server, (reader, _), _):
        proxy.hold_answer()
        before = frame(HEADERS, b"headers") + frame(PING, bytes(8))
        # A frame may arrive in pieces.
        server.write(before[:12])
        await server.drain()
        assert await reader.readexactly(12) == before[:12]
        server.write(before[12:])
        assert await reader.readexactly(len(before) - 12) == before[12:]
        assert not proxy.held.is_set()
        server.write(frame(DATA, b"answer"))
        await proxy.held.wait()
        proxy.cut()
        assert await ended(reader) == b""


async def test_nothing_passes_while_the_network_is_silent():
    async with proxied() as (proxy, _, (_, writer), received):
        proxy.set_silent(True)
        writer.write(b"request")
        _, other = await asyncio.open_connection("127.0.0.1", proxy.port)
        other.write(b"other")
        for _ in range(10):
            await asyncio.sleep(0)
        assert received.empty()
        proxy.set_silent(False)
        assert {await received.get(), await received.get()} == {b"request", b"other"}
        other.transport.abort()


async def test_a_server_that_is_not_there_ends_the_connection():
    async with Proxy("127.0.0.1:1").running() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ended(reader) == b""
        writer.close()


@pytest.mark.parametrize("size", [1, 9, 10, 100])
async def test_frames_are_found_whatever_pieces_they_come_in(size):
    async with proxied() as (proxy, server, (reader, _), _):
        proxy.hold_answer()
        data = frame(HEADERS, b"\0\0\0") + frame(PING, bytes(8)) + frame(DATA, b"answer")
        for begin in range(0, len(data), size):
            server.write(data[begin : begin + size])
            await server.drain()
            await asyncio.sleep(0)
        await proxy.held.wait()
        proxy.cut()
        assert frame(DATA, b"answer") not in await ended(reader)
