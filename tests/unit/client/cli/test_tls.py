"""TLS of the command: by options, by the environment, and by the target."""

import re
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.servers import server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def target(authority: Authority, tmp_path: Path):
    pair = authority.issue()
    flags = {"cert": pair.cert_file, "key": pair.key_file, "client-ca": authority.ca_file}
    arguments = (f"--tls-{name}-file={path}" for name, path in flags.items())
    with server((tmp_path / "secured").as_uri(), *arguments) as target:
        yield target


async def test_files_are_options_or_variables_of_the_environment(run, authority, target):
    pair = authority.issue("client", hosts=[])
    files = {"ca_file": authority.ca_file, "cert_file": pair.cert_file, "key_file": pair.key_file}
    options = [f"--tls-{name.replace('_', '-')}={path}" for name, path in files.items()]
    assert (await run("capabilities", *options, target=target))[0] == 0
    variables = {f"HOLDFAST_TLS_{name.upper()}": str(path) for name, path in files.items()}
    assert (await run("capabilities", target=target, **variables))[0] == 0
    assert (await run("capabilities", target=f"grpcs://{target}", **variables))[0] == 0


async def test_a_name_that_is_not_that_of_the_target_can_be_given(run, authority, tmp_path):
    pair = authority.issue("other", hosts=["holdfast.example"])
    files = f"--tls-cert-file={pair.cert_file}", f"--tls-key-file={pair.key_file}"
    with server((tmp_path / "named").as_uri(), *files) as target:
        ca = f"--tls-ca-file={authority.ca_file}"
        assert (await run("capabilities", ca, "--tls-server-name=holdfast.example", target=target))[0] == 0
        code, _, problem = await run("capabilities", ca, target=target)
        assert code == 8
        assert "HANDSHAKE_FAILED: no connection to the server: its certificate is for another name" in problem


async def test_a_plaintext_command_says_that_the_server_expects_tls_in_one_line(run_executable, target):
    code, _, problem = await run_executable("capabilities", HOLDFAST_TARGET=target)
    assert code == 8
    assert re.search("HANDSHAKE_FAILED: .* it expects TLS", problem)
    assert "ssl_transport_security" not in problem


async def test_a_bad_file_is_named_and_a_folder_ignores_the_environment(run, tmp_path):
    code, _, problem = await run("capabilities", HOLDFAST_TLS_CA_FILE="none.pem")
    assert code == 2
    assert "tls.ca_file must name a file that can be read, not 'none.pem': No such file" in problem
    folder = (tmp_path / "folder").as_uri()
    assert (await run("capabilities", target=folder, HOLDFAST_TLS_CA_FILE="none.pem"))[0] == 0
