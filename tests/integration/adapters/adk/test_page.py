"""The page about Google ADK."""

import pytest

from tests.integration.adapters.adk.installed import WHY_NOT, has_adk

if not has_adk():
    pytest.skip(WHY_NOT, allow_module_level=True)

from tests.integration.adapters.pages import output_of


def test_the_code_of_the_page_runs_as_written(served):
    output = output_of("adk", served.target)
    assert "'user:name': 'me'" in output
    assert "'turns': 1" in output
