"""The API without the SDK: a TypeScript program with @grpc/grpc-js."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import grpc
import pytest

FOLDER = Path(__file__).parent / "typescript"
PROTO = Path(__file__).parents[2] / "proto"


async def run(*command, **options):
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **options
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out + err).decode()
    return out


@pytest.fixture
async def program(tmp_path_factory):
    if shutil.which("npm") is None:
        why = "no Node.js: `npm` not found"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("typescript")
    for name in ("client.ts", "package.json", "package-lock.json", "tsconfig.json"):
        shutil.copy(FOLDER / name, folder / name)
    await run("npm", "ci", "--no-audit", "--no-fund", cwd=folder)
    await run("npm", "run", "build", cwd=folder)
    return folder / "build" / "client.js"


async def test_a_typescript_program_saves_loads_lists_validates_streams_and_reads_error_details(served, program):
    seen = json.loads(await run("node", str(program), served.target, str(PROTO)))
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
