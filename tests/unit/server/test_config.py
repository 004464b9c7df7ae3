"""Configuration: which source wins, and which error a wrong setting gets."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from holdfast_server.arguments import parse
from holdfast_server.config import Config, ConfigError
from holdfast_server.config_sources import as_flags, load, misspelled
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.format.manifest import GRACE_SECONDS

from tests.support import servers
from tests.support.repository import ROOT
from tools import docs_parts

HERE = Path("/here")


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults(tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text('calls_in_flight = 1\nworkers = 1\ndrain_seconds = 1.5\nlisten = "127.0.0.1:1"\n')
    environment = {"HOLDFAST_CONFIG": str(file), "HOLDFAST_CALLS_IN_FLIGHT": "2", "HOLDFAST_WORKERS": "2"}
    config = load({"calls_in_flight": "3"}, environment, HERE)
    assert (config.calls_in_flight, config.workers, config.drain_seconds, config.cache_bytes) == (3, 2, 1.5, 32 << 20)
    assert config.listen == "127.0.0.1:1"


def test_retention_is_a_table_in_the_file_and_json_elsewhere(tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text('[retention."*"]\nkeep_last = 5\n[retention.jobs]\nmax_age_seconds = 3600\n')
    from_file = load({"config": str(file)}, {}, HERE)
    from_flag = load({"retention": '{"*": {"keep_last": 5}, "jobs": {"max_age_seconds": 3600}}'}, {}, HERE)
    assert from_file.policies == from_flag.policies
    assert from_file.policies.of("jobs") == Retention(max_age_seconds=3600)
    assert from_file.policies.of("others") == Retention(keep_last=5)


def test_deltas_are_on_unless_they_are_turned_off_and_a_namespace_can_be_left_out(tmp_path):
    assert load({}, {}, HERE).delta_rules.apply_to("n")
    file = tmp_path / "holdfast.toml"
    file.write_text('without_deltas = ["secret"]\n')
    for config in (
        load({"config": str(file)}, {}, HERE),
        load({"without_deltas": "secret,other"}, {"HOLDFAST_DELTAS": "on"}, HERE),
    ):
        assert config.delta_rules.apply_to("n")
        assert not config.delta_rules.apply_to("secret")
    assert not load({"config": str(file), "deltas": "off"}, {}, HERE).delta_rules.apply_to("n")
    assert not load({}, {"HOLDFAST_DELTAS": "false"}, HERE).delta_rules.apply_to("n")


@pytest.mark.parametrize(("name", "value"), [("deltas", "maybe"), ("without_deltas", "a,,b"), ("deltas", "1")])
def test_a_wrong_setting_of_deltas_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name}: expected"):
        load({name: value}, {}, HERE)


def test_workers_have_the_settings_of_their_parent(tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text(
        'without_deltas = ["a", "it is \\"b\\", or c"]\ndeltas = true\nretention = {"*" = {keep_last = 2}}\n'
        'grace_seconds = 0\nfolder_group = "0"\ndrain_seconds = 0.1\ns3_client = "obstore"\n'
    )
    for config in (load({"config": str(file)}, {}, HERE), load({}, {}, HERE)):
        flags = vars(parse(["serve", *as_flags(config)]))
        assert load(flags, {"HOLDFAST_DELTAS": "off"} if config.deltas else {}, Path("/elsewhere")) == config


def test_each_worker_has_a_port_for_metrics_and_port_0_stands_for_any_free_one():
    def addresses(listen: str) -> list[str]:
        return Config(store="file:///s", workers=3, metrics_listen=listen).metrics_addresses

    assert addresses("[::1]:9464") == ["[::1]:9464", "[::1]:9465", "[::1]:9466"]
    assert addresses("127.0.0.1:0") == ["127.0.0.1:0"] * 3
    assert addresses("") == [""] * 3
    with pytest.raises(ConfigError, match=r"^metrics_listen: expected a port with 2 more after it, one for each"):
        addresses("127.0.0.1:65534")


def test_without_settings_it_serves_on_loopback_from_a_folder():
    assert load({}, {}, HERE) == Config(listen="127.0.0.1:7433", store="file:///here/holdfast-data")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen", "nowhere"),
        ("listen", "127.0.0.1:99999"),
        ("store", "ftp://x"),
        ("store", "file://relative"),
        ("workers", "0"),
        ("workers", "many"),
        ("drain_seconds", "-1"),
        ("drain_seconds", "nan"),
        ("calls_in_flight", "0"),
        ("bytes_in_flight", "1"),
        ("longest_call_seconds", "0"),
        ("inline_limit_bytes", "2000000"),
        ("payload_limit_bytes", "1"),
        ("cache_bytes", "-5"),
        ("grace_seconds", "-1"),
        ("gc_interval_seconds", "never"),
        ("retention", "keep everything"),
        ("retention", '{"*": 3}'),
        ("retention", '{"*": {"keep": 3}}'),
        ("retention", '{"*": {"keep_last": 0}}'),
        ("retention", '{"n": {"max_age_seconds": "1d"}}'),
        ("tls_client_auth", "maybe"),
        ("insecure", "perhaps"),
        ("metrics_listen", "9464"),
        ("metrics_listen", "127.0.0.1:65536"),
    ],
)
def test_a_wrong_setting_is_named_wherever_it_comes_from(name, value, tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text(f"{name} = '{value}'\n")
    for flags, environment in (
        ({name: value}, {}),
        ({}, {f"HOLDFAST_{name.upper()}": value}),
        ({"config": str(file)}, {}),
    ):
        with pytest.raises(ConfigError, match=f"^{name}: "):
            load(flags, environment, HERE)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"tls_cert_file": "a.pem"}, "tls_key_file: expected a file, because tls_cert_file is given"),
        ({"tls_key_file": "a.pem"}, "tls_cert_file: expected a file, because tls_key_file is given"),
        ({"tls_client_ca_file": "a.pem"}, "tls_cert_file: expected a file, because tls_client_ca_file is given"),
        (
            {"tls_cert_file": "a.pem", "tls_key_file": "b.pem", "tls_client_auth": "require"},
            "tls_client_ca_file: expected a file, because tls_client_auth is require",
        ),
    ],
)
def test_settings_of_tls_that_lack_another_one_are_refused(settings, problem):
    with pytest.raises(ConfigError, match=f"^{problem}$"):
        load(settings, {}, HERE)


@pytest.mark.parametrize(("client_auth", "is_required"), [(None, True), ("require", True), ("off", False)])
def test_authorities_of_callers_make_certificates_required_unless_that_is_turned_off(client_auth, is_required):
    files = {"tls_cert_file": "a.pem", "tls_key_file": "b.pem", "tls_client_ca_file": "c.pem"}
    assert load({**files, "tls_client_auth": client_auth}, {}, HERE).requires_client_certificates is is_required


LOOPBACK = ["localhost:1", "LOCALHOST:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "::1:1", "[::ffff:127.0.0.1]:1"]
REACHABLE = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1", "host:1", "localhost.example.com:1", "*:1"]


@pytest.mark.parametrize("listen", REACHABLE)
def test_plaintext_on_an_address_that_other_machines_reach_is_refused_unless_it_is_allowed(listen):
    with pytest.raises(ConfigError, match=f"^listen: other machines can reach '{re.escape(listen)}'"):
        load({"listen": listen}, {}, HERE).require_protected_listen()
    load({"listen": listen, "insecure": "on"}, {}, HERE).require_protected_listen()
    files = {"tls_cert_file": "a.pem", "tls_key_file": "b.pem"}
    load({"listen": listen, **files}, {}, HERE).require_protected_listen()


@pytest.mark.parametrize("listen", LOOPBACK)
def test_plaintext_on_loopback_is_allowed(listen):
    load({"listen": listen}, {}, HERE).require_protected_listen()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_other_machines_could_reach_in_plaintext_does_not_start(tmp_path, workers):
    refused = servers.run("serve", "--listen", "0.0.0.0:0", "--workers", workers, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("holdfast-server: listen: other machines can reach '0.0.0.0:0'")
    assert len(refused.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_insecure_is_a_switch_on_the_command_line():
    assert parse(["serve", "--insecure"]).insecure == "on"
    assert parse(["serve", "--insecure=off"]).insecure == "off"
    assert parse(["serve"]).insecure is None


def test_an_unknown_setting_and_an_invalid_file_are_named(tmp_path):
    file = tmp_path / "holdfast.toml"
    file.write_text("drain = 1\n")
    with pytest.raises(ConfigError, match=r"^drain: unknown setting"):
        load({"config": str(file)}, {}, HERE)
    file.write_text("= no TOML")
    with pytest.raises(ConfigError, match="expected TOML in"):
        load({"config": str(file)}, {}, HERE)
    with pytest.raises(ConfigError, match="cannot read"):
        load({"config": str(tmp_path / "none")}, {}, HERE)


@pytest.mark.parametrize(
    ("variable", "likely"),
    [
        ("HOLDFAST_POLICYFILE", "HOLDFAST_POLICY_FILE"),
        ("HOLDFAST_POLICY_FILES", "HOLDFAST_POLICY_FILE"),
        ("HOLDFAST_QUOTA_FILE", "HOLDFAST_QUOTAS_FILE"),
        ("HOLDFAST_AUDITLOG", "HOLDFAST_AUDIT_LOG"),
    ],
)
def test_a_variable_that_looks_like_that_of_a_setting_is_named_with_it(variable, likely):
    assert misspelled({variable: "x", likely: "y"}) == {variable: likely}


def test_variables_of_clients_and_of_kubernetes_and_settings_are_not_called_misspelled():
    names = {f"HOLDFAST_{each.name.upper()}" for each in fields(Config)}
    names |= {f"HOLDFAST_{each}" for each in ("TARGET", "TOKEN", "TOKEN_FILE", "TLS_CA_FILE", "TLS_SERVER_NAME")}
    names |= {f"HOLDFAST_{each}" for each in ("CONFIG", "SERVICE_HOST", "SERVICE_PORT", "ENCRYPTION_KEY_FILE")}
    assert misspelled(dict.fromkeys(names, "x") | {"HOLDFAST_CONSOLE_PORT": "tcp://10.0.0.1:80"}) == {}


def test_the_config_command_prints_the_effective_settings_and_refuses_wrong_ones(tmp_path):
    def run(*arguments):
        return servers.run(*arguments, cwd=tmp_path)

    printed = json.loads(run("config", "--workers", "3").stdout)
    assert printed["workers"] == 3
    assert printed["store"] == (tmp_path / "holdfast-data").as_uri()
    refused = run("serve", "--workers", "none")
    assert refused.returncode == 1
    assert refused.stderr == "holdfast-server: workers: expected an int, got 'none' from --workers\n"


def test_the_page_lists_every_setting_with_its_default():
    page = docs_parts.render((ROOT / "docs" / "reference" / "configuration.md").read_text())
    defaults = load({}, {}, HERE)
    for name in Config.__dataclass_fields__:
        # None means the grace of the store, which is a day for a new one.
        value = GRACE_SECONDS if name == "grace_seconds" else getattr(defaults, name)
        default = "./holdfast-data" if name == "store" else f"{value:g}" if isinstance(value, float) else str(value)
        assert f"| {name} | {default} |" in page
