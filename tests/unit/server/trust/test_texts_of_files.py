"""Files of the server that an editor has saved with a byte order mark or other line ends are read as before."""

import pytest
from holdfast_server import config_sources
from holdfast_server.trust import mac_keys, policy, quotas, tokens
from holdfast_server.trust.mac_keys import MacKey
from holdfast_server.trust.watched_file import InvalidFileError

FILES = {
    "policy": (policy.parse, '[[policy]]\nprincipals = ["*"]\nnamespaces = ["a"]\nverbs = ["read"]\n'),
    "quotas": (quotas.parse, "[default]\ncalls_per_second = 5\n"),
    "tokens": (tokens.parse, f'[[token]]\nname = "ci"\nsha256 = "{"0" * 64}"\n'),
    "mac keys": (mac_keys.parse, mac_keys.serialized([MacKey(bytes(32))]).decode()),
}


@pytest.mark.parametrize(("parse", "text"), FILES.values(), ids=FILES)
def test_a_byte_order_mark_and_other_line_ends_are_passed_over(parse, text):
    parse(text.encode())
    parse(("\ufeff" + text.replace("\n", "\r\n")).encode())


@pytest.mark.parametrize("parse", [parse for parse, _ in FILES.values()], ids=FILES)
@pytest.mark.parametrize("data", ["\ufeff\ufeff[a]".encode(), "[default]\n".encode("utf-16"), b"\xff"])
def test_other_encodings_are_refused(parse, data):
    with pytest.raises(InvalidFileError, match="expected"):
        parse(data)


def test_the_configuration_is_read_with_a_byte_order_mark(tmp_path):
    (tmp_path / "config.toml").write_bytes('\ufeffgrace_seconds = 5.0\r\nlog_level = "error"\r\n'.encode())
    assert config_sources.load({"config": str(tmp_path / "config.toml")}, {}, tmp_path).grace_seconds == 5.0
