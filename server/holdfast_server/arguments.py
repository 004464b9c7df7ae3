"""The command line of `holdfast-server`. Each command accepts the settings that it uses, and no others."""

import argparse
import os
from dataclasses import fields

from holdfast_server import SERVER_VERSION, console_command
from holdfast_server.config import DEFAULT_LISTEN, Config

# Commands that work on a store without serving it.
STORE_COMMANDS = ("gc", "fsck", "upgrade", "add-macs", "export", "import", "backup")

_SETTINGS = {
    "listen": "address to serve on, host:port",
    "store": "location of the store: a path, file:///path, s3://bucket/prefix or az://container/prefix",
    "workers": "number of processes that serve on one port",
    "drain_seconds": "how long calls in progress may continue after SIGTERM",
    "connections": "how many connections may be open",
    "keepalive_seconds": "time after which a silent connection is pinged, and how long the reply may take",
    "pipeline_age_seconds": "time after which a pipeline is replaced by a new one",
    "calls_in_flight": "how many calls may run at once",
    "bytes_in_flight": "how many bytes of payload the calls in flight may hold in memory",
    "longest_call_seconds": "how long a call may take",
    "inline_limit_bytes": "how many bytes of payload a commit marker may hold",
    "payload_limit_bytes": "how many bytes a streamed payload may have",
    "cache_bytes": "how many bytes of commit markers are kept in memory",
    "grace_seconds": "grace period before dead objects are deleted; set when the store is created",
    "gc_interval_seconds": "how often to collect garbage; 0 for never",
    "retention": 'checkpoints to keep per namespace, such as {"*": {"keep_last": 10, "max_age_seconds": 86400}}',
    "folder_group": "group that may use the files of a store in a folder; set when the store is created",
    "deltas": "whether parts are stored compressed, as differences from earlier checkpoints: on or off",
    "checkpoints_per_base": "how many checkpoints may rest on one base of differences",
    "without_deltas": "namespaces in which parts are stored as they are, with commas between them",
    "base_bytes": "how many bytes of content, on which the next saves may rest, are kept in memory",
    "fair_calls": "how many calls may work at once, in turns of their namespaces; 0 for no turns",
    "quotas_file": "a TOML file with the quotas of namespaces",
    "audit_log": "where the audit log goes: a path, stdout or stderr",
    "audit_calls": "calls that the audit log holds: writes or all",
    "audit_required": "whether calls that write are refused if the audit log cannot be written: on or off",
    "tls_cert_file": "the server's certificate in PEM, with those of intermediate authorities",
    "tls_key_file": "the private key of the certificate in PEM, without a password",
    "tls_client_ca_file": "authorities in PEM whose certificates callers must present",
    "tls_client_auth": "whether callers must present a certificate: off or require",
    "insecure": "serve in plaintext on an address that other machines can reach: on or off",
    "policy_file": "TOML file with the rights of principals",
    "oidc_issuer": "URL of the issuer whose OIDC tokens are accepted",
    "oidc_audience": "whom the tokens of the issuer must be for",
    "oidc_jwks_url": "where the issuer publishes its keys; by default its own description says so",
    "oidc_algorithms": "how tokens of the issuer may be signed, with commas between them",
    "oidc_groups_claim": "claim of a token that has the groups of its subject",
    "mac_keys_file": "file of keys, made by the command mac-key, with which objects of the store get MACs",
    "watch_fastest_seconds": "how often a watched workflow is looked at for commits of other servers, after a commit",
    "watch_slowest_seconds": "how often at least, after a long time without a commit",
    "tokens_file": "file of tokens, made by the command token; callers then need one of them",
    "metrics_listen": "address for Prometheus, host:port; further workers take the next ports",
    "console_listen": "address of the console for browsers, host:port",
    "console_allow_changes": "whether the console can delete and fence: on or off",
    "console_trace_url_template": "URL of a trace for the console's links, with {trace_id} in it",
    "console_hosts": "names by which browsers reach the console, with commas between them",
    "log_level": "lowest level that is logged: debug, info, warning or error",
    "s3_client": "library that sends small requests to S3: aioboto3 or obstore",
    "s3_encryption": "how S3 encrypts each object at rest: AES256, aws:kms or aws:kms:dsse",
    "s3_kms_key": "id, ARN or alias of the KMS key for that",
    "s3_bucket_owner": "account that must own the S3 bucket, twelve digits",
}
TOKEN_COMMAND = "token"
_TOKEN_ACTIONS = {
    "create": "create a token: print it once, and add its SHA-256 to the file",
    "list": "print the tokens of the file, without the tokens themselves",
    "remove": "remove tokens from the file; servers refuse them within seconds",
}
MAC_KEY_COMMAND = "mac-key"
_MAC_KEY_ACTIONS = {
    "create": "add a key to the file and print its id; the first one of a file makes MACs",
    "list": "print the ids of the keys of the file",
    "use": "let a key of the file make MACs once the servers are restarted",
    "remove": "remove a key from the file",
}
_COMMANDS = {
    "serve": "serve until SIGTERM",
    "config": "print the configuration in effect",
    "gc": "collect garbage once: apply retention and delete objects that have been dead for the grace period",
    "fsck": "check every marker and every part in the store",
    "upgrade": "write new markers in the newest format, once no older server uses the store",
    "add-macs": "give every object of a store a MAC of the newest key, while no server uses the store",
    "export": "write workflows into an archive, while servers use the store",
    "import": "put the workflows of an archive into a store; what the store has stays as it is",
    "backup": "copy a store in a folder into another folder, while servers use it",
}
_S3 = ("s3_client", "s3_encryption", "s3_kms_key", "s3_bucket_owner")
_SETTINGS_USED = {
    "gc": ("store", "cache_bytes", "grace_seconds", "retention", "log_level", "mac_keys_file", *_S3),
    "fsck": ("store", "cache_bytes", "log_level", "mac_keys_file", *_S3),
    "upgrade": ("store", "log_level", "mac_keys_file", *_S3),
    "add-macs": ("store", "log_level", "mac_keys_file", *_S3),
    "export": ("store", "cache_bytes", "log_level", "mac_keys_file", *_S3),
    "import": ("store", "cache_bytes", "grace_seconds", "folder_group", "log_level", "mac_keys_file", *_S3),
    "backup": ("store", "log_level"),
}


def parse(given: list[str] | None = None) -> argparse.Namespace:
    """Parse the command and its arguments. Settings that are not given are None."""
    parser = _Parser(prog="holdfast-server", description="The checkpoint store for workflow engines.")
    parser.add_argument("--version", action="version", version=f"holdfast-server {SERVER_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    health = commands.add_parser("health", help="check whether a server serves; exit 0 or 1")
    health.add_argument(
        "--target",
        default=DEFAULT_LISTEN,
        help=f"the server, host:port, or grpcs://host:port for TLS (default {DEFAULT_LISTEN})",
    )
    health.add_argument("--ready", action="store_true", help="check as well that its store works")
    health.add_argument("--config", help="the server's TOML file, which says whether it serves TLS")
    health.add_argument(
        "--tls-ca-file",
        default=os.environ.get("HOLDFAST_TLS_CA_FILE"),
        help="authorities of the server in PEM (default: HOLDFAST_TLS_CA_FILE; else a server on this machine is "
        "trusted as it is)",
    )
    health.add_argument(
        "--tls-cert-file", help="certificate to present in PEM (default: the server's own if it requires one)"
    )
    health.add_argument("--tls-key-file", help="its private key in PEM")
    _add_policy(commands)
    about = "serve pages for a browser about a server or a folder, until SIGTERM"
    console_command.add_command(commands.add_parser("console", help=about, description=about), os.environ)
    for name, about in _COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--config", help="a TOML file with settings")
        for setting in _SETTINGS_USED.get(name, tuple(each.name for each in fields(Config))):
            option = command.add_argument(f"--{setting.replace('_', '-')}", dest=setting, help=_SETTINGS[setting])
            if setting == "insecure":
                option.nargs, option.const = "?", "on"
        if name in ("gc", "fsck"):
            command.add_argument("--after", default="", help="continue after a position that an earlier run reported")
        if name == "gc":
            command.add_argument("--dry-run", action="store_true", help="only report what would be deleted")
            command.add_argument(
                "--shorter-grace-seconds",
                help="a shorter grace period for this run, if a full disk cannot wait; earlier calls may fail",
            )
        if name == "fsck":
            command.add_argument("--repair", action="store_true", help="repair what can be repaired")
            command.add_argument("--quick", action="store_true", help="check that parts exist, without reading them")
        if name == "add-macs":
            command.add_argument(
                "--first", action="store_true", help="accept objects without a MAC as they are: once in a store's life"
            )
        if name in ("export", "import"):
            command.add_argument("file", metavar="FILE", help="the archive, or - for a standard stream")
        if name == "backup":
            command.add_argument("folder", metavar="FOLDER", help="where to: a folder that is empty or does not exist")
        if name == "export":
            command.add_argument("--namespace", help="only this namespace (default: the whole store)")
            command.add_argument("--workflow", help="only this workflow of the namespace")
            command.add_argument("--resume", action="store_true", help="continue an archive that was cut off")
    _add_token_commands(commands)
    _add_mac_key_commands(commands)
    return parser.parse_args(given)


def _add_policy(commands: "argparse._SubParsersAction[_Parser]") -> None:
    policy = commands.add_parser("policy", help="check a policy file, and explain what it allows")
    check = policy.add_subparsers(dest="policy_command", required=True).add_parser(
        "check", help="check a policy file; exit 0 or 1"
    )
    check.add_argument("file", metavar="FILE", help="the policy file")
    check.add_argument(
        "--principal",
        action="append",
        default=[],
        help="show the entries that apply to a principal; once for each of its identities",
    )
    check.add_argument("--namespace", help="show the entries that apply to a namespace")


def _add_token_commands(commands: "argparse._SubParsersAction[_Parser]") -> None:
    about = "create, list or remove tokens in the file that tokens_file names"
    actions = commands.add_parser(TOKEN_COMMAND, help=about, description=about).add_subparsers(
        dest="action", required=True
    )
    for action, about in _TOKEN_ACTIONS.items():
        command = actions.add_parser(action, help=about, description=about)
        command.add_argument("--config", help="a TOML file with settings")
        for setting in ("tokens_file", "log_level"):
            command.add_argument(f"--{setting.replace('_', '-')}", dest=setting, help=_SETTINGS[setting])
        if action != "list":
            command.add_argument("name", help="name of the token: its callers are 'token:NAME'")
        if action == "create":
            command.add_argument(
                "--expires-in",
                default="90d",
                help="how long the token is valid, such as 90d, 12h or 30m, or never (default 90d)",
            )
        if action == "remove":
            command.add_argument("--id", dest="token_id", help="remove only the token with this id, as list shows it")


def _add_mac_key_commands(commands: "argparse._SubParsersAction[_Parser]") -> None:
    about = "create, list, use or remove keys in the file that mac_keys_file names"
    actions = commands.add_parser(MAC_KEY_COMMAND, help=about, description=about).add_subparsers(
        dest="action", required=True
    )
    for action, about in _MAC_KEY_ACTIONS.items():
        command = actions.add_parser(action, help=about, description=about)
        command.add_argument("--config", help="a TOML file with settings")
        for setting in ("mac_keys_file", "log_level"):
            command.add_argument(f"--{setting.replace('_', '-')}", dest=setting, help=_SETTINGS[setting])
        if action in ("use", "remove"):
            command.add_argument("id", help="id of the key, as list shows it")


class _Parser(argparse.ArgumentParser):
    """A parser without abbreviated options: a new option must not change the meaning of an existing script."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})  # type: ignore[arg-type]
