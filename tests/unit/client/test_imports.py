"""The modules that an import of the package loads, and the places it can be imported from."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import holdfast
import pytest

from tests.support.repository import ROOT

CLIENT = ROOT / "client"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """Return a folder with the libraries of this environment, without the distributions of Holdfast."""
    folder = tmp_path_factory.mktemp("libraries")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "holdfast" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder


def run(program, *path):
    """Run a program in a fresh interpreter that sees only the given folders beside the standard library."""
    environment = {"PYTHONPATH": ":".join(map(str, path))}
    result = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    return result.stdout.split()


def test_a_source_tree_that_is_not_installed_can_be_imported(libraries):
    program = "import holdfast; print(holdfast.__file__, holdfast.__version__, holdfast.Client, holdfast.AsyncClient)"
    file, version, *_ = run(program, CLIENT, libraries)
    assert Path(file) == CLIENT / "holdfast" / "__init__.py"
    assert version == holdfast.__version__


def test_a_stub_does_not_load_the_client(libraries):
    program = "import sys, holdfast.v1.checkpoint_pb2; print(*(name for name in sys.modules))"
    loaded = run(program, CLIENT, libraries)
    assert "holdfast.v1.checkpoint_pb2" in loaded
    assert {name for name in loaded if name.startswith("holdfast") and not name.startswith("holdfast.v1")} == {
        "holdfast",
        "holdfast._package",
    }
    assert not {"grpc", "asyncio", "opentelemetry"} & set(loaded)


def test_the_values_and_errors_do_not_load_a_transport(libraries):
    program = "import sys, holdfast; holdfast.Format, holdfast.WriterFencedError; print(*sys.modules)"
    assert not {"holdfast._async", "holdfast._sync"} & set(run(program, CLIENT, libraries))


def test_each_public_name_can_be_loaded_and_is_listed():
    for name in holdfast.__all__:
        assert getattr(holdfast, name).__name__ == name
    assert set(holdfast.__all__) <= set(dir(holdfast))
    assert holdfast.Format is holdfast.Format


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'holdfast' has no attribute 'Server'"):
        holdfast.Server  # noqa: B018
