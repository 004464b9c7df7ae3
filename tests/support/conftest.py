"""Runs of pytest with our plugins."""

import pytest

from tests.support.repository import ROOT

OURS = ("contained", "ending", "sharing", "suites")
PLUGINS = ("pytest_timeout", "xdist.plugin", *(f"tests.support.{each}" for each in OURS))


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest with our plugins on one module, or on several by their paths. Returns its exit code and output."""

    def run(modules, *arguments, budget="small", ci=""):
        pytester.makepyfile(**({"tests/some/suite/test_module": modules} if isinstance(modules, str) else modules))
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("HOLDFAST_TEST_BUDGET", budget)
        monkeypatch.setenv("CI", ci)
        plugins = [f"-p{each}" for each in PLUGINS]
        result = pytester.runpytest_subprocess("--disable-plugin-autoload", *plugins, "-pno:cacheprovider", *arguments)
        return result.ret, result.stdout.str()

    return run
