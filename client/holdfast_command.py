"""The program `holdfast`. It lies outside of the package so that it can report a package that is not ours."""

import sys


def main() -> None:
    """Run the command line, or say in one line why it cannot be imported."""
    try:
        from holdfast.cli.main import main as run  # noqa: PLC0415
    except ImportError as error:
        found = getattr(sys.modules.get("holdfast"), "__file__", None)
        place = f" (the package 'holdfast' was found at {found})" if error.name == "holdfast.cli" else ""
        sys.stderr.write(f"holdfast: {error}{place}\n")
        sys.exit(2)
    run()
