"""The plugin that shares the tests among processes."""

from collections import defaultdict

pytest_plugins = ["pytester"]

MODULE = """
    import os
    import time
    import pytest

    def note(what):
        with open(os.environ["NOTES"], "a") as notes:
            print(what, os.environ["PYTEST_XDIST_WORKER"], file=notes)

    note("{name} collected")

    @pytest.mark.parametrize("number", range(12))
    def test_runs(number):
        note("{name} run")
        while len(processes_of("{name} run")) < {processes}:
            time.sleep(0.01)

    def processes_of(what):
        with open(os.environ["NOTES"]) as notes:
            return {{line.split()[-1] for line in notes if line.startswith(what)}}
"""
ENGINES = "tests/integration/adapters"


def test_a_module_runs_in_one_process_and_an_engine_is_collected_by_one(run, tmp_path, monkeypatch):
    paths = {
        "one engine": f"{ENGINES}/one/test_engine",
        "other engine": f"{ENGINES}/other/test_engine",
        "module": "tests/unit/test_module",
        "verification": "tests/verification/suite/test_suite",
    }
    # The tests of the verification wait until both processes run one of them.
    modules = {path: MODULE.format(name=name, processes=1 + (name == "verification")) for name, path in paths.items()}
    packages = {f"{ENGINES}/{engine}/__init__": "" for engine in ("one", "other")}
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    code, printed = run(modules | packages, "-n", "2", "--dist", "loadgroup", "--import-mode", "importlib")
    assert code == 0
    assert "48 passed" in printed
    processes = defaultdict(set)
    for line in (tmp_path / "notes").read_text().splitlines():
        what, _, process = line.rpartition(" ")
        processes[what].add(process)
    both = {"gw0", "gw1"}
    assert processes["one engine collected"] == processes["one engine run"] == {"gw0"}
    assert processes["other engine collected"] == processes["other engine run"] == {"gw1"}
    assert processes["module collected"] == processes["verification collected"] == both
    assert len(processes["module run"]) == 1
    assert processes["verification run"] == both


def test_what_only_one_process_has_collected_counts_as_collected(run):
    code, printed = run(
        {f"{ENGINES}/one/test_engine": "def test_passes(): pass", f"{ENGINES}/one/__init__": ""},
        "-n2",
        "--dist=loadgroup",
    )
    assert code == 0
    assert "1 passed" in printed


def test_a_killed_process_fails_its_test_and_ends_the_run(run):
    killed = """
        import os
        import signal

        def test_passes(): pass

        def test_is_killed(): os.kill(os.getpid(), signal.SIGKILL)
    """
    code, printed = run(killed, "-n2", "--dist=loadgroup", "--max-worker-restart=0")
    assert code == 1
    assert "crashed while running 'tests/some/suite/test_module.py::test_is_killed'" in printed
