"""The API without the SDK: a TypeScript program with @grpc/grpc-js."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest

from tests.support.certificates import Authority
from tests.support.repository import ROOT
from tests.support.required import require
from tests.support.servers import server

FOLDER = Path(__file__).parent / "typescript"


async def run(*command, **options):
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **options
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out + err).decode()
    return out


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("npm") is None:
        require("no Node.js: `npm` not found")
    folder = tmp_path_factory.mktemp("typescript")
    [snippet] = re.findall(r"```typescript\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (folder / "readme.ts").write_text(snippet)
    for name in ("client.ts", "package.json", "package-lock.json", "tsconfig.json"):
        shutil.copy(FOLDER / name, folder / name)
    for command in (
        ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"),
        ("npm", "run", "build"),
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build"


async def test_a_typescript_program_saves_loads_lists_validates_streams_and_reads_error_details(served, program):
    check(json.loads(await run("node", str(program / "client.js"), served.target, str(ROOT / "proto"))))


async def test_a_typescript_program_does_the_same_over_tls_with_a_certificate_of_its_own(tmp_path, program):
    authority = Authority(tmp_path / "authority")
    pair, own = authority.issue(), authority.issue("client", hosts=[])
    files = {"cert": pair.cert_file, "key": pair.key_file, "client-ca": authority.ca_file}
    settings = {"CA": authority.ca_file, "CERT": own.cert_file, "KEY": own.key_file}
    environment = {**os.environ, **{f"HOLDFAST_TLS_{name}_FILE": str(path) for name, path in settings.items()}}
    with server(
        (tmp_path / "store").as_uri(), *(f"--tls-{name}-file={path}" for name, path in files.items())
    ) as target:
        command = "node", str(program / "client.js"), target, str(ROOT / "proto")
        check(json.loads(await run(*command, env=environment)))


def check(seen):
    assert seen["revision"] == 1
    assert seen["loaded"] == "state"
    [[checkpoint_id, labels]] = seen["listed"]
    assert checkpoint_id.startswith("cp-")
    assert labels == {"language": "typescript"}
    assert seen["resumable"]
    assert seen["streamedBytes"] == 64 << 20
    assert seen["sha256Agrees"]
    assert seen["cameBack"]
    assert seen["code"] == grpc.StatusCode.NOT_FOUND.value[0]
    info = seen["details"]["google.rpc.ErrorInfo"]
    assert info["reason"] == "WORKFLOW_NOT_FOUND"
    assert info["domain"] == "holdfast.dev"
    assert len(seen["details"]["google.rpc.RequestInfo"]["servingData"]) == 32


async def test_the_lines_in_the_readme_run_as_written(served, program):
    written = (program / "readme.js").read_text()
    (program / "readme.js").write_text(written.replace("127.0.0.1:7433", served.target))
    assert await run("node", str(program / "readme.js"), cwd=ROOT) == b"state after step 1\n"
