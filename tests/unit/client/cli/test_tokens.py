"""The token of the command: from a file or the environment, and never in an argument or on the screen."""

import pytest

from tests.support.servers import server
from tests.support.tokens_file import TokensFile


@pytest.fixture
def file(tmp_path):
    return TokensFile(tmp_path / "tokens.toml")


@pytest.fixture
def target(file, tmp_path):
    with server((tmp_path / "guarded").as_uri(), f"--tokens-file={file.path}") as target:
        yield target


@pytest.fixture
def token_file(file, tmp_path):
    path = tmp_path / "ci.token"
    path.write_text(f"{file.ci}\n")
    return path


async def test_the_token_is_in_a_file_or_in_the_environment(run, target, file, token_file):
    assert (await run("capabilities", "--token-file", str(token_file), target=target))[0] == 0
    assert (await run("capabilities", target=target, HOLDFAST_TOKEN_FILE=str(token_file)))[0] == 0
    assert (await run("capabilities", target=target, HOLDFAST_TOKEN=file.ci))[0] == 0
    token_file.write_bytes(f"\ufeff{file.ci}\r\n".encode())
    assert (await run("capabilities", "--token-file", str(token_file), target=target))[0] == 0


async def test_a_missing_or_wrong_token_is_one_line_without_the_token(run, target):
    for settings in ({}, {"HOLDFAST_TOKEN": "hft_s3cr3t"}):
        code, out, problem = await run("capabilities", target=target, **settings)
        assert (code, out) == (8, b"")
        assert "UNAUTHENTICATED" in problem
        assert "s3cr3t" not in problem


async def test_a_file_that_cannot_be_read_or_has_no_token_is_named(run, target, tmp_path):
    code, _, problem = await run("capabilities", "--token-file", str(tmp_path / "none"), target=target)
    assert code == 2
    assert "none' with the token cannot be read: No such file" in problem
    (tmp_path / "empty").touch()
    code, _, problem = await run("capabilities", "--token-file", str(tmp_path / "empty"), target=target)
    assert code != 0
    assert "token must be 1 to 16384" in problem


async def test_a_token_is_not_sent_in_plaintext_to_another_machine(run, token_file):
    code, _, problem = await run("capabilities", "--token-file", str(token_file), target="192.0.2.1:7433")
    assert code != 0
    assert "token would be sent in plaintext to '192.0.2.1:7433'" in problem


async def test_a_folder_ignores_the_environment(run, tmp_path):
    folder = (tmp_path / "folder").as_uri()
    assert (await run("capabilities", target=folder, HOLDFAST_TOKEN_FILE="none"))[0] == 0
