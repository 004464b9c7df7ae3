"""The commands on the page of LangGraph print what the page shows."""

import re
import sqlite3
from contextlib import closing

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import StateGraph

from tests.integration.adapters.commands import run
from tests.support.repository import ROOT

PAGE = (ROOT / "docs/guides/engines/langgraph.md").read_text()
CONSOLES = re.findall(r"```console\n\$ holdfast (.*?)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    """A folder with the database of the page's graph."""
    with closing(sqlite3.connect(tmp_path / "checkpoints.db", check_same_thread=False)) as connection:
        builder = StateGraph(int).add_node("add_one", lambda n: n + 1).set_entry_point("add_one")
        graph = builder.compile(checkpointer=SqliteSaver(connection))
        graph.invoke(1, {"configurable": {"thread_id": "thread-42"}}, durability="sync")
    return tmp_path


def test_the_commands_of_the_page_print_what_it_shows(folder, target, namespace):
    assert len(CONSOLES) == 2
    for command, shown in CONSOLES:
        assert run(target, *command.replace("my-app", namespace).split(), folder=folder).stdout == shown
