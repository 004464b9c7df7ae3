"""Options that several commands share."""

import os
from argparse import ArgumentParser, Namespace

from holdfast._core import targets
from holdfast._core.tls import TLS
from holdfast.cli import values

_MAX_COUNT = 2**31 - 1
_MAX_INTEGER = 2**63 - 1

COUNT = values.integer(1, _MAX_COUNT)
NOT_NEGATIVE = values.integer(0, _MAX_INTEGER)


def add_tls(command: ArgumentParser) -> None:
    """Add the options of TLS, each with an environment variable."""
    for name, metavar, meaning in (
        ("ca-file", "FILE", "authorities of the server in PEM; turns TLS on"),
        ("cert-file", "FILE", "certificate to present in PEM; turns TLS on"),
        ("key-file", "FILE", "its private key in PEM"),
        ("server-name", "NAME", "name that the server's certificate must have, if it is not that of the target"),
    ):
        variable = f"HOLDFAST_TLS_{name.replace('-', '_').upper()}"
        command.add_argument(
            f"--tls-{name}",
            type=values.required,
            default=os.environ.get(variable) or None,
            metavar=metavar,
            help=f"{meaning} (default: {variable})",
        )


def tls_of(given: Namespace) -> TLS | None:
    """Return how a command uses TLS; None to let the target say. The service of a folder needs none."""
    settings = {
        "ca_file": given.tls_ca_file,
        "cert_file": given.tls_cert_file,
        "key_file": given.tls_key_file,
        "server_name": given.tls_server_name,
    }
    is_given = any(value is not None for value in settings.values())
    return TLS(**settings) if is_given and not targets.is_folder(given.target) else None


def add_accept(command: ArgumentParser) -> None:
    """Add `--accept`: the formats that the caller reads."""
    command.add_argument(
        "--accept",
        action="append",
        type=values.accepted,
        default=[],
        metavar="NAME:MIN-MAX",
        help="an accepted format, others are refused; may be repeated (default: any)",
    )


def add_not_before(command: ArgumentParser) -> None:
    """Add `--not-before`: the newest head that the caller has seen."""
    command.add_argument(
        "--not-before",
        type=values.head,
        metavar="REVISION:DIGEST",
        help="the newest `head` that --json has shown of the workflow; fail if its log is older now (default: none)",
    )


def add_label(command: ArgumentParser, meaning: str) -> None:
    """Add `--label`, whose meaning depends on the command."""
    command.add_argument(
        "--label",
        action="append",
        type=values.label,
        default=[],
        metavar="KEY=VALUE",
        help=f"{meaning} (default: none)",
    )


def add_limit(command: ArgumentParser, default: int) -> None:
    """Add `--limit`: the largest number of items to list."""
    command.add_argument(
        "--limit", type=COUNT, default=default, metavar="N", help=f"the largest number of lines (default: {default})"
    )


def add_output(command: ArgumentParser, content: str) -> None:
    """Add `--output`: the file to write the content to."""
    command.add_argument(
        "--output",
        "-o",
        default="-",
        metavar="FILE",
        help=f"where to write {content}; a file is replaced as a whole or not at all (default: -, stdout)",
    )


def add_writer(command: ArgumentParser) -> None:
    """Add `--epoch` and `--request-id`, the options of a change to a workflow."""
    command.add_argument(
        "--epoch", type=NOT_NEGATIVE, metavar="N", help="the writer's epoch (default: none, never fenced)"
    )
    add_request_id(command)


def add_request_id(command: ArgumentParser) -> None:
    """Add `--request-id`."""
    command.add_argument(
        "--request-id",
        type=values.required,
        metavar="ID",
        help="the request id; it commits at most once (default: random)",
    )
