"""The code of the page about Google ADK runs."""

from tests.support.required import require_engine

require_engine("google.adk")

from tests.integration.adapters.pages import output_of


def test_the_code_of_the_page_runs_as_written(tmp_path):
    output = output_of("adk", tmp_path)
    assert "'user:name': 'me'" in output
    assert "'turns': 1" in output
