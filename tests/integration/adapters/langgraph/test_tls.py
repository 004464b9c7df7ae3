"""A saver over TLS."""

from pathlib import Path

import holdfast
from holdfast.adapters.langgraph import HoldfastSaver

from tests.support.certificates import Authority
from tests.support.servers import server

THREAD = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


async def test_a_saver_of_either_kind_uses_tls(tmp_path: Path):
    authority = Authority(tmp_path / "authority")
    pair = authority.issue()
    files = f"--tls-cert-file={pair.cert_file}", f"--tls-key-file={pair.key_file}"
    tls = holdfast.TLS(ca_file=authority.ca_file)
    with server((tmp_path / "store").as_uri(), *files) as target:
        with HoldfastSaver.from_target(target, namespace="n", tls=tls) as saver:
            assert saver.get_tuple(THREAD) is None
        async with HoldfastSaver.from_target(target, namespace="n", tls=tls) as saver:
            assert await saver.aget_tuple(THREAD) is None
