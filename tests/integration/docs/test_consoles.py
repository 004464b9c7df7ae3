"""Commands of the pages that run until they are stopped or killed."""

import asyncio
import json
import re
import signal

import pytest

from tests.integration.docs.blocks import DOCS, PAGES, blocks, environment, run
from tests.support.certificates import Authority
from tests.support.object_servers import AZURE_ACCOUNT

CONSOLES = [(page, code) for page in PAGES for code in blocks(page, "console")]
# By tests/integration/deploy and by those of the adapters, with the programs and engines that they need.
RUN_THERE = (
    "$ curl ",
    "$ holdfast export ",
    "$ holdfast import ",
    "haproxy ",
    "helm ",
    "holdfast list ",
    "prometheus ",
    "useradd ",
)
SERVES = re.compile(r"holdfast-server (serve|console)\b")
# A block may show several servers, each with its prompt.
SERVERS = [
    (page, command)
    for page, code in CONSOLES
    if SERVES.search(code)
    for command in re.split(r"^\$ ", code, flags=re.MULTILINE)
    if command
]


@pytest.mark.parametrize(("page", "code"), SERVERS, ids=[f"{page.stem}-{n}" for n, (page, _) in enumerate(SERVERS)])
async def test_a_server_that_a_page_starts_serves_until_it_is_stopped(page, code, request, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_LISTEN", "127.0.0.1:0")
    if "s3://" in code:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", request.getfixturevalue("s3_endpoint"))
        code = re.sub(r"AWS_ENDPOINT_URL_S3=\S+ ", "", code)
        code = code.replace("s3://bucket", f"s3://{request.getfixturevalue('s3_bucket')}")
    if "az://" in code:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", request.getfixturevalue("azure_endpoint"))
        code = code.replace("ACCOUNT_NAME=account", f"ACCOUNT_NAME={AZURE_ACCOUNT}")
        code = code.replace("az://container", f"az://{request.getfixturevalue('azure_container')}")
    code = re.sub(r"file:///\S+", (tmp_path / "store").as_uri(), code).replace(":9464", ":0")
    if "holdfast-server console" in code:
        # It need not reach its target before somebody looks at a page.
        code = f"{code.strip()} --listen 127.0.0.1:0"
    else:
        code = re.sub(":743[34]", ":0", code)
    # The files that pages name.
    Authority(tmp_path).issue("server")
    command = ["bash", "-c", code]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environment(""), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert json.loads(await process.stdout.readline())["address"]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_job_of_the_first_page_goes_on_where_it_was_killed(tmp_path):
    page = DOCS / "start.md"
    [code] = blocks(page, "python")
    code = code.replace("file:///tmp/checkpoints", (tmp_path / "checkpoints").as_uri())
    (tmp_path / "count.py").write_text(code.replace("sleep(1)", "sleep(0.1)"))
    killed, again = (code for code in blocks(page, "console") if "count.py" in code)
    # It may take a while until the job has begun.
    killed = killed.replace("sleep 4", "until grep -q 'step 3' printed; do sleep 0.02; done")
    await run(["bash", "-c", killed.replace("count.py", "count.py > printed")], tmp_path, "")
    lines = (tmp_path / "printed").read_text().splitlines()
    assert lines == ["starting after step 0", *(f"saved step {step}" for step in range(1, len(lines)))]
    output = (await run(["bash", "-c", again], tmp_path, "")).splitlines()
    # The step after the last one that was printed may have been saved before the kill.
    assert output[0] in (f"starting after step {step}" for step in (len(lines) - 1, len(lines)))
    assert output[-1] == "saved step 10"


@pytest.mark.parametrize(
    "code",
    [
        code
        for _, code in CONSOLES
        if code.startswith("$ ") and not code.startswith(RUN_THERE) and not SERVES.search(code)
    ],
)
async def test_a_command_with_a_prompt_prints_what_the_page_shows(code, tmp_path):
    [policy] = [code for code in blocks(DOCS / "security.md", "toml") if "[[policy]]" in code]
    (tmp_path / "policy.toml").write_text(policy)
    command, *shown = code.removeprefix("$ ").splitlines()
    output = await run(["bash", "-c", command], tmp_path, "")
    # An ellipsis stands for what the page leaves out.
    assert re.fullmatch(re.escape("".join(shown)).replace("…", ".*"), output.strip())


def test_every_console_of_a_page_is_run():
    run_above = ("holdfast-server serve", "holdfast-server console", "count.py", "$ ")
    not_run_here = [code for _, code in CONSOLES if not any(each in code for each in run_above)]
    assert [code for code in not_run_here if not code.startswith(RUN_THERE)] == []
