"""What TLS and a token cost: saves and loads of 4 KiB on a folder, in one run with plaintext."""

from contextlib import ExitStack

import holdfast

from benchmarks import servers, subjects
from benchmarks.measure import compare
from benchmarks.report import print_figures
from benchmarks.setting import Setting
from tests.support.certificates import Authority
from tests.support.servers import run as run_command

PLAINTEXT = "plaintext"


async def run(setting: Setting) -> None:
    """Measure and print them."""
    folder = setting.folder / "tls"
    authority = Authority(folder / "authority")
    pair, own = authority.issue(), authority.issue("client", hosts=[])
    tokens_file = folder / "tokens.toml"
    made = run_command("token", "create", "bench", "--tokens-file", str(tokens_file), check=True)
    files = {"HOLDFAST_TLS_CERT_FILE": str(pair.cert_file), "HOLDFAST_TLS_KEY_FILE": str(pair.key_file)}
    trusted = {"tls": holdfast.TLS(ca_file=authority.ca_file)}
    presented = {"tls": holdfast.TLS(ca_file=authority.ca_file, cert_file=own.cert_file, key_file=own.key_file)}
    kinds = {
        PLAINTEXT: ({}, {}),
        "TLS": (files, trusted),
        "TLS and token": (
            {**files, "HOLDFAST_TOKENS_FILE": str(tokens_file)},
            {**trusted, "token": made.stdout.strip()},
        ),
        "mTLS": ({**files, "HOLDFAST_TLS_CLIENT_CA_FILE": str(authority.ca_file)}, presented),
    }
    with ExitStack() as stack:
        opened = {}
        for name, (environment, options) in kinds.items():
            store = (folder / name.replace(" ", "-")).as_uri()
            target, pid = stack.enter_context(servers.holdfast(store, environment=environment))
            opened[name] = subjects.sdk(target, pid, **options)
        figures = await compare(opened, setting.effort)
    print_figures("4 KiB on file://", figures, [PLAINTEXT])
