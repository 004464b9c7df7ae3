"""Runs of pytest with our plugins."""

import pytest

from tests.support.repository import ROOT

PLUGINS = ("pytest_timeout", "xdist.plugin", *(f"tests.support.{each}" for each in ("contained", "ending", "suites")))


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest with our plugins on one module. Returns its exit code and what it printed."""

    def run(module, *arguments, budget="small", ci=""):
        pytester.makepyfile(**{"tests/some/suite/test_module": module})
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("HOLDFAST_TEST_BUDGET", budget)
        monkeypatch.setenv("CI", ci)
        plugins = [f"-p{each}" for each in PLUGINS]
        result = pytester.runpytest_subprocess("--disable-plugin-autoload", *plugins, "-pno:cacheprovider", *arguments)
        return result.ret, result.stdout.str()

    return run
