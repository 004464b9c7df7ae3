"""The code on the page about your own adapter runs as written."""

from tests.integration.adapters.pages import output_of


def test_the_minimal_adapter_continues_with_each_run(tmp_path):
    assert [output_of("your-own", tmp_path).strip() for _ in range(3)] == [
        "(1, {'count': 1})",
        "(2, {'count': 2})",
        "(3, {'count': 3})",
    ]
