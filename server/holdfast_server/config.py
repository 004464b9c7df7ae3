"""Configuration: one frozen dataclass, which checks its settings."""

import grp
import re
from dataclasses import dataclass, field

from holdfast_server import location
from holdfast_server.console.settings import ConsoleError, check_trace_url_template
from holdfast_server.listen_address import is_loopback
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.maintenance.sweep import Policies
from holdfast_server.protocol.payload.bases import BASES_BYTES
from holdfast_server.protocol.payload.policy import CHECKPOINTS_PER_BASE, DeltaRules
from holdfast_server.stores.s3_settings import S3SettingError, S3Settings
from holdfast_server.trust.audit import AuditRules
from holdfast_server.trust.protected_urls import is_protected

Rules = dict[str, dict[str, float]]

AUDIT_CALLS = ("writes", "all")
CLIENT_AUTH = ("off", "require")
# Asymmetric ones: with the others, whoever can check a token could make one.
OIDC_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LOG_LEVELS = ("debug", "info", "warning", "error")
DEFAULT_LISTEN = "127.0.0.1:7433"

# The largest number of checkpoints or seconds in a retention rule.
_MAX_KEPT = 10**12


class ConfigError(Exception):
    """A setting is invalid. The message begins with its name."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a server or a command.

    Attributes:
        listen: address to serve on, host:port; port 0 takes a free one.
        store: location of the store, `file:///path`, `s3://bucket/prefix` or `az://container/prefix`; `load` accepts a
            plain path as well.
        workers: number of processes that serve on one port.
        drain_seconds: how long calls in progress may continue after SIGTERM.
        calls_in_flight: how many calls may run at once, half of them from one connection, half of them streams; more
            are refused with OVERLOADED.
        bytes_in_flight: how many bytes of payload the calls in flight may hold in memory together; more calls are
            refused with OVERLOADED.
        longest_call_seconds: how long a call may take, whatever its deadline.
        inline_limit_bytes: how many bytes of payload a commit marker may hold.
        payload_limit_bytes: how many bytes a streamed payload may have.
        cache_bytes: how many bytes of commit markers are kept in memory.
        grace_seconds: grace period before dead objects are deleted, set when the store is created; None for a day. An
            existing store keeps its own.
        gc_interval_seconds: how often this server collects garbage; 0 for never.
        retention: by namespace, or "*" for all others: `keep_last` checkpoints, `max_age_seconds`.
        connections: how many connections may be open, fewer if the limit of open files requires it; more are closed.
        keepalive_seconds: time after which a silent connection is pinged, and how long the reply may take.
        pipeline_age_seconds: time after which a pipeline is replaced by a new one, so that load balancers can move its
            caller; it varies by a tenth.
        log_level: the lowest level that is logged, one of LOG_LEVELS.
        s3_client: the library that sends small requests to an S3 store, one of S3_CLIENTS.
        folder_group: name or number of a group that may use the files of a store in a folder, besides their user; ""
            for none. Set when the store is created. An existing store keeps its own.
        deltas: whether parts are stored compressed, and as differences from earlier checkpoints.
        checkpoints_per_base: how many checkpoints may rest on one that is stored as a base of differences.
        without_deltas: namespaces in which parts are stored as they are.
        base_bytes: how many bytes of content, on which the next saves may rest, are kept in memory.
        audit_log: where the audit log goes: a path, "stdout" or "stderr"; "" for no audit log.
        audit_calls: the calls that it holds, one of AUDIT_CALLS; refused ones always.
        audit_required: whether a call that writes is refused if it cannot be written to the audit log.
        tls_cert_file: the server's certificate in PEM, followed by those of intermediate authorities; "" for plaintext.
        tls_key_file: the private key of that certificate in PEM, without a password.
        tls_client_ca_file: the authorities in PEM whose certificates callers must present; "" if they need none.
        tls_client_auth: whether callers must present a certificate, one of CLIENT_AUTH; "" for require if
            tls_client_ca_file is given, else off.
        insecure: whether to serve in plaintext on an address that other machines can reach.
        s3_encryption: how an S3 store encrypts each object at rest, one of S3_ENCRYPTIONS; "" for the bucket's default.
        s3_kms_key: id, ARN or alias of the KMS key for that; "" for the default key.
        s3_bucket_owner: the account that must own the bucket, twelve digits; "" for any.
        fair_calls: how many calls may work at once, in turns of their namespaces; 0 if there are no turns.
        policy_file: a TOML file with the rights of principals; "" to give all of them all rights.
        tokens_file: a file of tokens, made by `holdfast-server token`; callers then need one of them. "" for none.
        oidc_issuer: the URL of the issuer whose OIDC tokens are accepted; "" for none.
        oidc_audience: whom its tokens must be for, their claim `aud`.
        oidc_jwks_url: where it publishes its keys; "" to find that out from the issuer.
        oidc_algorithms: how its tokens may be signed, some of OIDC_ALGORITHMS.
        oidc_groups_claim: the claim of a token that has the groups of its subject.
        quotas_file: a TOML file with the quotas of namespaces, read again when it changes; "" for none.
        metrics_listen: address for Prometheus, host:port, on which further workers take the next ports; "" for none.
        mac_keys_file: a file of keys, made by `holdfast-server mac-key`, with which every object of the store but blobs
            gets a MAC; "" for no MACs.
        console_listen: address of the console for browsers, host:port, which one of the workers serves; "" for none.
        console_allow_changes: whether the console's pages can delete and fence.
        console_trace_url_template: the URL of a trace for the console's links, with `{trace_id}` in it; "" for none.
        console_hosts: names by which browsers reach the console, such as that of a proxy.
        watch_fastest_seconds: how often a watched workflow is looked at for commits of other servers, after a commit.
        watch_slowest_seconds: how often at least, after a long time without a commit.

    """

    listen: str = DEFAULT_LISTEN
    store: str = ""
    workers: int = 1
    drain_seconds: float = 10.0
    calls_in_flight: int = 256
    bytes_in_flight: int = 1 << 30
    longest_call_seconds: float = 3600.0
    inline_limit_bytes: int = 64 << 10
    payload_limit_bytes: int = 64 << 30
    cache_bytes: int = 32 << 20
    grace_seconds: float | None = None
    gc_interval_seconds: float = 43_200.0
    retention: Rules = field(default_factory=dict)
    log_level: str = "info"
    connections: int = 1000
    keepalive_seconds: float = 20.0
    s3_client: str = "aioboto3"
    pipeline_age_seconds: float = 1800.0
    folder_group: str = ""
    deltas: bool = True
    checkpoints_per_base: int = CHECKPOINTS_PER_BASE
    without_deltas: tuple[str, ...] = ()
    base_bytes: int = BASES_BYTES
    audit_log: str = ""
    audit_calls: str = "writes"
    audit_required: bool = False
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_client_ca_file: str = ""
    tls_client_auth: str = ""
    insecure: bool = False
    s3_encryption: str = ""
    s3_kms_key: str = ""
    s3_bucket_owner: str = ""
    fair_calls: int = 0
    policy_file: str = ""
    tokens_file: str = ""
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_jwks_url: str = ""
    oidc_algorithms: tuple[str, ...] = ("RS256", "ES256")
    oidc_groups_claim: str = "groups"
    quotas_file: str = ""
    metrics_listen: str = ""
    mac_keys_file: str = ""
    console_listen: str = ""
    console_allow_changes: bool = False
    console_trace_url_template: str = ""
    console_hosts: tuple[str, ...] = ()
    watch_fastest_seconds: float = 0.1
    watch_slowest_seconds: float = 2.0

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            ConfigError: one is invalid.

        """
        _check_address("listen", self.listen)
        if self.metrics_listen:
            _check_address("metrics_listen", self.metrics_listen, ports=self.workers)
        try:
            location.parse(self.store)
        except ValueError as error:
            raise ConfigError(f"store: invalid location {self.store!r}: {error}") from None
        for name, lowest, highest in (
            ("workers", 1, 256),
            ("drain_seconds", 0, 3600),
            ("connections", 1, 1_000_000),
            ("keepalive_seconds", 1, 3600),
            ("pipeline_age_seconds", 1, 86_400),
            ("calls_in_flight", 1, 100_000),
            ("bytes_in_flight", 1 << 20, 1 << 40),
            ("longest_call_seconds", 1, 86_400),
            ("inline_limit_bytes", 0, 1 << 20),
            ("payload_limit_bytes", 1 << 20, 1 << 42),
            ("cache_bytes", 1 << 20, 1 << 36),
            ("grace_seconds", 0, 366 * 86_400),
            ("gc_interval_seconds", 0, 366 * 86_400),
            ("checkpoints_per_base", 1, 1_000_000),
            ("base_bytes", 0, 1 << 36),
            ("fair_calls", 0, 100_000),
            ("watch_fastest_seconds", 0.01, 3600),
            ("watch_slowest_seconds", 0.01, 3600),
        ):
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise ConfigError(f"{name}: expected {lowest} to {highest}, got {value}")
        _check_retention(self.retention)
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f"log_level: expected one of {', '.join(LOG_LEVELS)}, got {self.log_level!r}")
        if self.audit_calls not in AUDIT_CALLS:
            raise ConfigError(f"audit_calls: expected one of {', '.join(AUDIT_CALLS)}, got {self.audit_calls!r}")
        if "\0" in self.audit_log:
            raise ConfigError(f"audit_log: expected a path, stdout or stderr, got {self.audit_log!r}")
        if self.audit_required and not self.audit_log:
            raise ConfigError("audit_required: needs audit_log")
        try:
            _ = self.s3_settings
        except S3SettingError as error:
            raise ConfigError(str(error)) from None
        if self.folder_group and self.folder_group_number is None:
            raise ConfigError(f"folder_group: expected the name or number of a group, got {self.folder_group!r}")
        if self.watch_fastest_seconds > self.watch_slowest_seconds:
            raise ConfigError(
                f"watch_fastest_seconds: expected at most watch_slowest_seconds, {self.watch_slowest_seconds}, "
                f"got {self.watch_fastest_seconds}"
            )
        self._check_tls()
        self._check_oidc()
        self._check_console()

    def _check_oidc(self) -> None:
        for name in ("oidc_issuer", "oidc_jwks_url"):
            url = getattr(self, name)
            if url and not is_protected(url):
                raise ConfigError(f"{name}: expected an https URL, or an http URL of this machine, got {url!r}")
        if self.oidc_issuer and not self.oidc_audience:
            raise ConfigError("oidc_audience: expected whom the tokens are for, because oidc_issuer is given")
        if not self.oidc_issuer and (self.oidc_audience or self.oidc_jwks_url):
            raise ConfigError("oidc_issuer: expected the issuer's URL, because another setting of OIDC is given")
        for algorithm in self.oidc_algorithms:
            if algorithm not in OIDC_ALGORITHMS:
                raise ConfigError(f"oidc_algorithms: expected some of {', '.join(OIDC_ALGORITHMS)}, got {algorithm!r}")
        if not self.oidc_algorithms:
            raise ConfigError("oidc_algorithms: expected at least one algorithm")

    def _check_console(self) -> None:
        if self.console_listen:
            _check_address("console_listen", self.console_listen)
            if self.requires_client_certificates and not (self.tokens_file or self.oidc_issuer):
                raise ConfigError(
                    "console_listen: browsers have no certificate for this server, whose callers need one: accept "
                    "tokens as well, or run `holdfast-server console` with --client-cert-file"
                )
        try:
            check_trace_url_template(self.console_trace_url_template)
        except ConsoleError as error:
            raise ConfigError(f"console_{error}") from None

    def _check_tls(self) -> None:
        for given, needed in (
            ("tls_cert_file", "tls_key_file"),
            ("tls_key_file", "tls_cert_file"),
            ("tls_client_ca_file", "tls_cert_file"),
        ):
            if getattr(self, given) and not getattr(self, needed):
                raise ConfigError(f"{needed}: expected a file, because {given} is given")
        if self.tls_client_auth not in ("", *CLIENT_AUTH):
            raise ConfigError(
                f"tls_client_auth: expected one of {', '.join(CLIENT_AUTH)}, got {self.tls_client_auth!r}"
            )
        if self.tls_client_auth == "require" and not self.tls_client_ca_file:
            raise ConfigError("tls_client_ca_file: expected a file, because tls_client_auth is require")

    def require_protected_listen(self) -> None:
        """Check that other machines can reach the server by TLS only, unless `insecure` allows plaintext.

        Raises:
            ConfigError: they could reach it in plaintext.

        """
        if not (self.tls_cert_file or self.insecure or is_loopback(self.listen)):
            raise ConfigError(
                f"listen: other machines can reach {self.listen!r}, and nothing protects the connections: set "
                "tls_cert_file and tls_key_file, or allow plaintext with insecure (--insecure)"
            )

    @property
    def metrics_addresses(self) -> list[str]:
        """The address for metrics of each worker; "" for none."""
        if not self.metrics_listen:
            return [""] * self.workers
        host, _, port = self.metrics_listen.rpartition(":")
        return [f"{host}:{int(port) and int(port) + number}" for number in range(self.workers)]

    @property
    def requires_client_certificates(self) -> bool:
        """Whether callers must present a certificate."""
        return bool(self.tls_client_ca_file) and self.tls_client_auth != "off"

    @property
    def folder_group_number(self) -> int | None:
        """The number of `folder_group`; None if it is not given or unknown."""
        if re.fullmatch("[0-9]{1,9}", self.folder_group):
            return int(self.folder_group)
        try:
            return grp.getgrnam(self.folder_group).gr_gid
        except (KeyError, ValueError):
            return None

    @property
    def s3_settings(self) -> S3Settings:
        """The settings of a store on S3."""
        return S3Settings(self.s3_client, self.s3_encryption, self.s3_kms_key, self.s3_bucket_owner)

    @property
    def delta_rules(self) -> DeltaRules:
        """The rules for what is stored as differences."""
        return DeltaRules(self.deltas, self.checkpoints_per_base, frozenset(self.without_deltas))

    @property
    def audit_rules(self) -> AuditRules:
        """The rules for what the audit log holds."""
        return AuditRules(includes_reads=self.audit_calls == "all", is_required=self.audit_required)

    @property
    def policies(self) -> Policies:
        """The retention of each namespace."""
        return Policies(
            {
                namespace: Retention(
                    keep_last=None if rules.get("keep_last") is None else int(rules["keep_last"]),
                    max_age_seconds=rules.get("max_age_seconds"),
                )
                for namespace, rules in self.retention.items()
            }
        )


def _check_address(name: str, address: str, *, ports: int = 1) -> None:
    """Check an address, host:port, from whose port on several are used. Port 0 stands for any free ones."""
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ConfigError(f"{name}: expected host:port, got {address!r}")
    if int(port) and int(port) + ports - 1 > 65535:
        raise ConfigError(f"{name}: expected a port with {ports - 1} more after it, one for each worker, got {port}")


def _check_retention(retention: Rules) -> None:
    for namespace, rules in retention.items():
        if not isinstance(rules, dict) or set(rules) - {"keep_last", "max_age_seconds"}:
            raise ConfigError(f"retention: expected keep_last or max_age_seconds for {namespace!r}, got {rules!r}")
        for name, value in rules.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            # The comparison rejects NaN and infinity as well.
            if not is_number or not 1 <= value <= _MAX_KEPT or (name == "keep_last" and value != int(value)):
                raise ConfigError(
                    f"retention: expected {name} of {namespace!r} to be from 1 to {_MAX_KEPT}, got {value!r}"
                )
