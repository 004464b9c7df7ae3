"""A check that the imported package `holdfast` belongs to the distribution `holdfast-client`, complete and alone.

The name `holdfast` on PyPI belongs to another project, whose files lie in a folder of the same name. Installed beside
or over ours, each distribution overwrites files of the other, and uninstalling one removes files of the other.
"""

import os
import sys
from importlib.metadata import Distribution, distributions

DISTRIBUTION = "holdfast-client"
VERSION = "0.2.0"

_FOLDER = os.path.dirname(os.path.realpath(__file__))
_REPAIR = (
    "Uninstall both, then install holdfast-client again: pip uninstall holdfast holdfast-client"
    " (how to install it: the README, under Install)"
)


def check() -> None:
    """Check that `holdfast` was imported from this distribution and that no other one shares its folder.

    Raises:
        ImportError: another distribution was installed over or beside this one, or its removal removed files.

    """
    package = sys.modules["holdfast"]
    others = [found for found in distributions(name="holdfast") if _shares_our_folder(found)]
    other = f"the distribution 'holdfast' {others[0].version}" if others else "another distribution"
    if package.__file__ is None:
        problem = f"{_FOLDER}/__init__.py is missing: uninstalling a distribution 'holdfast' removed it"
    elif getattr(package, "__distribution__", None) != DISTRIBUTION:
        problem = f"{package.__file__} does not belong to {DISTRIBUTION} {VERSION}: {other} was installed over it"
    elif others:
        problem = f"{other} is installed in the same folder as {DISTRIBUTION} {VERSION}, {_FOLDER}"
    else:
        return
    raise ImportError(
        f"{problem}. The name 'holdfast' on PyPI belongs to another project. {_REPAIR}", name="holdfast", path=_FOLDER
    )


def _shares_our_folder(other: Distribution) -> bool:
    # An editable install lists no file of the package: its folder belongs to a checkout.
    record = other.read_text("RECORD") or ""
    is_listed = any(line.startswith("holdfast/") for line in record.splitlines())
    return is_listed and os.path.realpath(str(other.locate_file("holdfast"))) == _FOLDER
