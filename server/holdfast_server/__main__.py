"""The program `holdfast-server`: checks that the package `holdfast` is ours and of this version, then runs."""

import os
import sys
from importlib.util import find_spec

from holdfast_server import SERVER_VERSION, stdio


def main() -> None:
    """Run the server's command line, or print one line that says why it cannot be imported."""
    stdio.reserve_descriptors()
    problem = _client_problem()
    if problem:
        stdio.write_stderr(f"holdfast-server: {problem}")
        sys.exit(2)
    if sys.argv[1:2] == ["health"]:
        # The command prints one line, which has gRPC's words.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from holdfast_server.main import main as run  # noqa: PLC0415

    run()


def _client_problem() -> str:
    """Return what is wrong with the package `holdfast` that this process would import; "" if nothing is."""
    needed = f"holdfast-server {SERVER_VERSION} needs holdfast-client {SERVER_VERSION}"
    spec = find_spec("holdfast")
    if spec is None:
        return f"{needed}, which is not installed"
    folders = spec.submodule_search_locations or ()
    if not any(os.path.exists(os.path.join(folder, "_package.py")) for folder in folders):
        found = spec.origin or ", ".join(folders)
        return f"{needed}, found {found}, which is another project's: that one is named 'holdfast' on PyPI"
    try:
        from holdfast import _package  # noqa: PLC0415

        _package.check()
    except ImportError as error:
        return str(error)
    return f"{needed}, found {_package.VERSION}" if _package.VERSION != SERVER_VERSION else ""


if __name__ == "__main__":
    main()
