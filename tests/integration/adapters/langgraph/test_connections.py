"""How a saver connects: with the settings that the clients of the SDK have."""

import inspect
from pathlib import Path

import holdfast
import pytest
from holdfast.adapters.from_target import AsyncFromTarget, FromTarget
from holdfast.adapters.langgraph import HoldfastSaver

from tests.support.servers import server
from tests.support.tokens_file import TokensFile

THREAD = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


async def test_a_saver_of_either_kind_sends_its_token(tmp_path: Path):
    file = TokensFile(tmp_path / "tokens.toml")
    with server((tmp_path / "store").as_uri(), f"--tokens-file={file.path}") as target:
        with HoldfastSaver.from_target(target, namespace="n", token=file.ci) as saver:
            assert saver.get_tuple(THREAD) is None
        async with HoldfastSaver.from_target(target, namespace="n", token=lambda: file.ci) as saver:
            assert await saver.aget_tuple(THREAD) is None
        with HoldfastSaver.from_target(target, namespace="n") as saver, pytest.raises(holdfast.UnauthenticatedError):
            saver.get_tuple(THREAD)


async def test_a_saver_of_either_kind_uses_the_policy(tmp_path: Path):
    with server((tmp_path / "store").as_uri()) as target:
        # The first address answers nobody.
        several = f"ipv4:127.0.0.1:1,{target}"
        with HoldfastSaver.from_target(several, namespace="n", load_balancing="round_robin") as saver:
            assert saver.get_tuple(THREAD) is None
        async with HoldfastSaver.from_target(several, namespace="n", load_balancing="round_robin") as saver:
            assert await saver.aget_tuple(THREAD) is None


def test_a_policy_that_does_not_exist_is_named():
    saver = HoldfastSaver.from_target("127.0.0.1:9", namespace="n", load_balancing="random")
    with pytest.raises(holdfast.InvalidRequestError, match="load_balancing must be one of"), saver:
        saver.get_tuple(THREAD)


def test_every_way_to_open_an_adapter_takes_every_setting_of_a_client():
    settings = set(inspect.signature(holdfast.Client).parameters)
    assert settings == set(inspect.signature(holdfast.AsyncClient).parameters)
    assert settings <= set(inspect.signature(FromTarget.from_target).parameters)
    assert settings <= set(inspect.signature(AsyncFromTarget.from_target).parameters)
    # LangGraph is the producer of all that a saver saves.
    assert settings - {"producer"} <= set(inspect.signature(HoldfastSaver).parameters)
