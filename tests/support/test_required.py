import pytest

from tests.support.required import require_engine


def test_an_engine_that_is_there_is_no_matter():
    require_engine("json")


@pytest.mark.parametrize("name", ["no_such_engine", "no_such_engine.part"])
def test_an_engine_that_is_missing_is_skipped_by_its_name(monkeypatch, name):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=name):
        require_engine(name)


def test_an_engine_that_is_missing_fails_where_ci_runs(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no_such_engine"):
        require_engine("no_such_engine")
