"""The keyring of the commands: from key files, or from a module of the caller's. No option takes a key itself."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast._core import attributes
from holdfast._core.errors import HoldfastError
from holdfast._package import DISTRIBUTION, VERSION
from holdfast.cli import values
from holdfast.cli.files import UsageError

if TYPE_CHECKING:
    from holdfast._encryption.keyring import Keyring

_FILE_OPTION = "--encryption-key-file"
_KEYRING_OPTION = "--encryption-keyring"
_FILE_VARIABLE = "HOLDFAST_ENCRYPTION_KEY_FILE"
_KEYRING_VARIABLE = "HOLDFAST_ENCRYPTION_KEYRING"

# What to do next at a command line, in place of the advice for programs.
_ADVICE = {
    "KEYRING_REQUIRED": f"Name the key that encrypted it by {_FILE_OPTION} FILE, or its keyring by "
    f"{_KEYRING_OPTION} MODULE:ATTRIBUTE.",
    "NOT_ENCRYPTED": f"Run the command without {_FILE_OPTION}, {_KEYRING_OPTION} and their environment variables if "
    "it was saved without encryption; else somebody has replaced it.",
    "ENCRYPTION_KEY_MISSING": f"Name its key by one more {_FILE_OPTION} FILE; if it was deleted, nothing that it "
    "encrypted can be read.",
}


def add_options(common: ArgumentParser) -> None:
    """Add `--encryption-key-file` and `--encryption-keyring`."""
    common.add_argument(
        _FILE_OPTION,
        action="append",
        type=values.required,
        default=[],
        metavar="FILE",
        help="a file with a key that encrypts what is saved and decrypts what is loaded; may be repeated, further keys "
        f"only decrypt (default: {_FILE_VARIABLE}, several files are separated by {os.pathsep!r})",
    )
    common.add_argument(
        _KEYRING_OPTION,
        type=values.required,
        metavar="MODULE:ATTRIBUTE",
        help="a holdfast.Keyring, or a function that returns one, such as of a key service; in place of key files "
        f"(default: {_KEYRING_VARIABLE})",
    )


def keyring_of(given: Namespace, environment: Mapping[str, str]) -> "Keyring | None":
    """Return the keyring of a command; None if it has none. Options count before the environment.

    Raises:
        UsageError: a key file or the keyring cannot be used, or there are both.

    """
    files: Sequence[str] = given.encryption_key_file
    name: str | None = given.encryption_keyring
    where = _FILE_OPTION, _KEYRING_OPTION
    if not files and name is None:
        files = [path for path in environment.get(_FILE_VARIABLE, "").split(os.pathsep) if path]
        name = environment.get(_KEYRING_VARIABLE) or None
        where = _FILE_VARIABLE, _KEYRING_VARIABLE
    if not files and name is None:
        return None
    if files and name is not None:
        raise UsageError(f"{where[0]} and {where[1]} exclude each other: the keyring has all its keys")
    try:
        import holdfast.encryption  # noqa: F401, PLC0415 - the optional package
    except ImportError as error:
        if error.name != "cryptography":
            raise
        raise UsageError(
            f"encryption needs the package cryptography: pip install '{DISTRIBUTION}[cli,encryption]=={VERSION}'"
        ) from None
    return _from_files(files, where[0]) if name is None else _named(name, where[1])


def with_advice(error: HoldfastError) -> HoldfastError:
    """Return the error with the advice for a command line."""
    error.advice = _ADVICE.get(error.reason, error.advice)
    return error


def advice_on(reason: str) -> str:
    """Return what to do about a reason that has to do with keys; "" for others."""
    return _ADVICE.get(reason, "")


def _from_files(paths: Sequence[str], where: str) -> "Keyring":
    from holdfast.encryption import Keyring, LocalKey  # noqa: PLC0415 - the optional package

    keys = []
    for path in paths:
        try:
            keys.append(LocalKey.read(path))
        except OSError as error:
            raise UsageError(f"{where}: {path!r} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
    try:
        return Keyring(*keys)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def _named(name: str, where: str) -> "Keyring":
    from holdfast.encryption import Keyring  # noqa: PLC0415 - the optional package

    try:
        found = attributes.named(name)
        if not isinstance(found, Keyring) and callable(found):
            found = found()
    except Exception as error:
        what = error if isinstance(error, ValueError) else repr(error)
        raise UsageError(f"{where}: {what}") from error
    if not isinstance(found, Keyring):
        raise UsageError(f"{where}: {name!r:.200} is {type(found).__name__}: expected a holdfast.Keyring")
    return found
