"""The gateway of `deploy/gateway`: JSON by HTTP, and JSON, gRPC-Web and Connect from a real browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import holdfast
import pytest
from holdfast.v1 import checkpoint_service_pb2 as api

from tests.support.ports import free_port, wait_for_http
from tests.support.repository import ROOT
from tests.support.required import require
from tests.support.servers import server

pytestmark = pytest.mark.needs_budget("full")

FOLDER = ROOT / "deploy" / "gateway"
ENVOY = os.environ.get("HOLDFAST_ENVOY") or shutil.which("envoy")
CHROMIUM = shutil.which("chromium")
SERVICE = "holdfast.v1.CheckpointService"
FORMAT = holdfast.Format("test", 1)
LARGE = bytes(range(256)) * (3 << 12)

# Each request of the page is sent in three protocols. An answer is the bytes in hexadecimal digits, or the JSON.
PAGE = """<pre id="found"></pre><script type="module">
const service = "%(gateway)s/holdfast.v1.CheckpointService/";
const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
const framed = (hexes) => bytes("00" + (hexes.length / 2).toString(16).padStart(8, "0") + hexes);
const post = (method, type, body, more = {}) =>
  fetch(service + method, { method: "POST", headers: { "content-type": type, ...more }, body });
const found = {};
for (const [name, method, json, message] of %(requests)s) {
  found[name + " json"] = await (await post(method, "application/json", JSON.stringify(json))).json();
  const web = await post(method, "application/grpc-web+proto", framed(message), { "x-grpc-web": "1" });
  found[name + " grpc-web"] = hex(await web.arrayBuffer());
  if (method !== "LoadStream") {
    const connect = { "connect-protocol-version": "1" };
    const answer = await post(method, "application/proto", bytes(message), connect);
    found[name + " connect"] = answer.ok ? hex(await answer.arrayBuffer()) : await answer.json();
  }
}
found.save = (await post("Save", "application/json", "{}").catch((error) => ({ status: String(error) }))).status;
document.getElementById("found").textContent = JSON.stringify(found);
</script>"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """Run a server with checkpoints, and Envoy with our configuration before it. Yield the address and the target."""
    require("" if ENVOY else "no Envoy: neither $HOLDFAST_ENVOY nor `envoy` found")
    folder = tmp_path_factory.mktemp("gateway")
    subprocess.run([sys.executable, FOLDER / "descriptors.py"], cwd=folder, check=True)
    page_port, port = free_port(), free_port()
    with server((folder / "store").as_uri()) as target:
        changes = {
            "port_value: 8080": f"port_value: {port}",
            "port_value: 7433": f"port_value: {target.rpartition(':')[2]}",
            "http://localhost:3000": f"http://localhost:{page_port}",
        }
        config = (FOLDER / "envoy.yaml").read_text()
        for shipped, used in changes.items():
            assert config.count(shipped) == 1
            config = config.replace(shipped, used)
        (folder / "envoy.yaml").write_text(config)
        command = [ENVOY, "-c", "envoy.yaml", "--log-level", "error", "--use-dynamic-base-id", "--concurrency", "1"]
        with subprocess.Popen(command, cwd=folder) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                wait_for_http(url)
                with holdfast.Client(target) as client:
                    for name in ("count", "ü b"):
                        client.save("my-app", name, b"17", format=FORMAT, labels={"kind": "small"}, checkpoint_id="c 1")
                    client.save("my-app", "large", LARGE, format=FORMAT)
                yield SimpleNamespace(url=url, target=target, page_port=page_port)
            finally:
                process.terminate()


def called(gateway, method: str, request: dict, **headers: str):
    """Return status and answer of a call in JSON."""
    sent = urllib.request.Request(
        f"{gateway.url}/{SERVICE}/{method}",
        json.dumps(request).encode(),
        {"content-type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(sent, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_load_in_json_has_the_payload_in_base64(gateway):
    status, loaded = called(gateway, "Load", {"namespace": "my-app", "workflowId": "count"})
    assert (status, loaded["parts"][0]["data"], loaded["checkpoint"]["revision"]) == (200, "MTc=", "1")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/capabilities", lambda answer: answer["limits"]["unaryPayloadBytes"] == str(1 << 20)),
        ("/v1/namespaces?namespace_prefix=my-", lambda answer: answer["namespaces"] == ["my-app"]),
        ("/v1/namespaces/my-app/workflows?page_size=1", lambda answer: len(answer["workflows"]) == 1),
        ("/v1/namespaces/my-app/workflows/count/newest", lambda answer: answer["parts"][0]["data"] == "MTc="),
        ("/v1/namespaces/my-app/workflows/%C3%BC%20b/newest", lambda answer: answer["parts"][0]["data"] == "MTc="),
        ("/v1/namespaces/my-app/workflows/count/checkpoints/c%201", lambda answer: answer["payloadIncluded"]),
        ("/v1/namespaces/my-app/workflows/count/checkpoints/c%201/records", lambda answer: answer["records"] == []),
        ("/v1/namespaces/my-app/checkpoints?page_size=9", lambda answer: len(answer["checkpoints"]) == 3),
        ("/v1/namespaces/my-app/workflows/count/checkpoints", lambda answer: len(answer["checkpoints"]) == 1),
        (
            "/v1/namespaces/my-app/workflows/count/validation?depth=VALIDATE_DEPTH_CHECKSUM",
            lambda answer: answer["resumable"],
        ),
    ],
)
def test_each_call_that_reads_has_a_path_of_its_own(gateway, path, found):
    with urllib.request.urlopen(f"{gateway.url}{path}", timeout=60) as response:
        answer = json.loads(response.read())
    assert found(answer), answer


@pytest.mark.parametrize("path", ["/", "/v1/namespaces/my-app", "/v1/namespaces//workflows/count/newest"])
def test_a_path_that_is_none_does_not_pass(gateway, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{gateway.url}{path}", timeout=60)
    with refused.value as error:
        assert error.code in (400, 403, 404)


def test_an_error_in_json_names_its_reason_and_its_trace(gateway):
    trace = "0af7651916cd43dd8448eb211c80319c"
    request = {"namespace": "my-app", "workflowId": "none"}
    status, text = called(gateway, "Load", request, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    reason, call = json.loads(text)["details"]
    assert (status, reason["reason"], call["servingData"]) == (404, "WORKFLOW_NOT_FOUND", trace)


@pytest.mark.parametrize("method", ["Save", "SaveStream", "Delete", "AcquireWriter", "Pipeline", "DeleteWorkflows"])
def test_a_call_that_changes_something_does_not_pass(gateway, method):
    status, text = called(gateway, method, {"namespace": "my-app", "workflowId": "count"})
    assert (status, text) == (403, "this gateway lets calls of Holdfast that read pass, and nothing else\n")


def test_the_commands_of_the_page_print_what_it_shows(gateway):
    require("" if shutil.which("curl") else "no curl")
    page = (ROOT / "docs" / "guides" / "browsers.md").read_text()
    commands = re.findall(r"```console\n\$ (curl .*?)\n(?=[^ ])(.*?)```", page, re.DOTALL)
    assert len(commands) == 3
    for command, shown in commands:
        script = command.replace("http://127.0.0.1:8080", gateway.url)
        found = json.loads(subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True).stdout)
        expected = json.loads(shown)
        assert {name: found[name] for name in expected} == expected


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def browsed(gateway, folder: Path, requests) -> dict:
    """Return what a page finds that sends requests in a real browser."""
    (folder / "page.html").write_text(PAGE % {"gateway": gateway.url, "requests": json.dumps(requests)})
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", gateway.page_port), handler) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        try:
            command = [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
                "--virtual-time-budget=60000", "--dump-dom", f"http://localhost:{gateway.page_port}/page.html",
            ]  # fmt: skip
            shown = subprocess.run(command, capture_output=True, check=True, text=True, timeout=300).stdout
        finally:
            pages.shutdown()
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found, shown
    return json.loads(found[1])


def unframed(answer: str) -> tuple[list[bytes], str]:
    """Return the messages of an answer in gRPC-Web, and its trailers."""
    data, messages = bytes.fromhex(answer), []
    while data:
        flags, size = data[0], int.from_bytes(data[1:5], "big")
        body, data = data[5 : 5 + size], data[5 + size :]
        if flags & 0x80:
            return messages, body.decode()
        messages.append(body)
    return messages, ""


def test_a_page_in_a_browser_reads_by_json_grpc_web_and_connect(gateway, tmp_path):
    require("" if CHROMIUM else "no browser: `chromium` not found")
    count = api.LoadRequest(namespace="my-app", workflow_id="count")
    large = api.LoadStreamRequest(namespace="my-app", workflow_id="large")
    everything = api.ListRequest(namespace="my-app")
    requests = [
        ["load", "Load", {"namespace": "my-app", "workflowId": "count"}, count.SerializeToString().hex()],
        ["list", "List", {"namespace": "my-app"}, everything.SerializeToString().hex()],
        [
            "stream",
            "LoadStream",
            {"namespace": "my-app", "workflowId": "large"},
            large.SerializeToString().hex(),
        ],
    ]
    found = browsed(gateway, tmp_path, requests)

    assert found["load json"]["parts"][0]["data"] == "MTc="
    [message], trailers = unframed(found["load grpc-web"])
    assert api.LoadResponse.FromString(message).parts[0].data == b"17"
    assert "grpc-status:0" in trailers.replace(" ", "")
    assert api.LoadResponse.FromString(bytes.fromhex(found["load connect"])).parts[0].data == b"17"

    assert {each["workflowId"] for each in found["list json"]["checkpoints"]} == {"count", "large", "ü b"}
    [message], _ = unframed(found["list grpc-web"])
    assert len(api.ListResponse.FromString(message).checkpoints) == 3
    assert len(api.ListResponse.FromString(bytes.fromhex(found["list connect"])).checkpoints) == 3

    messages, trailers = unframed(found["stream grpc-web"])
    parts = [api.LoadStreamResponse.FromString(each) for each in messages]
    assert b"".join(part.chunk.data for part in parts) == LARGE
    assert parts[-1].HasField("finish")
    assert found["stream json"][-1] == {"finish": {"sizeBytes": str(len(LARGE))}}
    assert found["save"] != 200
