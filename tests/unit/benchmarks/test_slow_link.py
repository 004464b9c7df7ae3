import asyncio
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from benchmarks.slow_link import Request, SlowLink, in_a_row


@pytest.fixture
def upstream():
    class Echo(BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 2), (1, 3)], 1),
        ([(0, 1), (2, 3), (4, 5)], 3),
        ([(0, 10), (1, 2), (3, 4)], 2),
        ([(0, 3), (0, 1), (1, 2), (2, 4)], 3),
    ],
)
def test_requests_in_a_row_are_the_most_of_which_no_two_overlap(times, expected):
    assert in_a_row(Request("PUT", "/", began, ended) for began, ended in times) == expected


async def test_a_link_forwards_and_records_requests(upstream):
    def put(number):
        body = f"{number}".encode() * 100_000
        request = urllib.request.Request(f"{link.url}/{number}?a=b", data=body, method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.read() == body

    with SlowLink.to(upstream) as link:
        await asyncio.gather(*(asyncio.to_thread(put, number) for number in range(3)))
        found = link.requests
    assert sorted((each.method, each.path) for each in found) == [("PUT", f"/{number}?a=b") for number in range(3)]
    assert all(each.ended > each.began for each in found)
