"""Settings of the console that are refused."""

import pytest
from holdfast_server.config import Config, ConfigError
from holdfast_server.console.settings import ConsoleError, Settings

TLS = {"tls_cert_file": "c", "tls_key_file": "k"}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"listen": "7434"}, "listen"),
        ({"listen": "a:70000"}, "listen"),
        ({"tls_cert_file": "c"}, "tls_key_file"),
        ({"trace_url_template": "http://jaeger/trace"}, "trace_url_template"),
        ({"trace_url_template": "javascript:alert('{trace_id}')"}, "trace_url_template"),
        ({"trace_url_template": "https://{trace_id}/"}, "trace_url_template"),
        ({"hosts": ("console.example:8443",)}, "hosts"),
        ({"hosts": ("https://console.example",)}, "hosts"),
        ({"hosts": ("a", "")}, "hosts"),
        ({"listen": "0.0.0.0:7434"}, "listen"),
        ({"listen": "0.0.0.0:7434", **TLS, "token": "t"}, "token"),
        ({"listen": "0.0.0.0:7434", **TLS, "is_open": True}, "target"),
        ({"listen": "0.0.0.0:7434", **TLS, "client_cert_file": "c"}, "client_cert_file"),
    ],
)
def test_a_wrong_setting_is_named(given, name):
    with pytest.raises(ConsoleError, match=f"^{name}: "):
        Settings("127.0.0.1:7433", **given)


@pytest.mark.parametrize(
    "given",
    [
        {"listen": "0.0.0.0:7434", **TLS},
        {"listen": "0.0.0.0:7434", "insecure": True, "token": "t"},
        {"listen": "localhost:7434", "is_open": True},
        {"hosts": ("console.example", "10.0.0.7", "fd00::7")},
        {"trace_url_template": "http://127.0.0.1:16686/trace/{trace_id}"},
    ],
)
def test_a_protected_console_is_accepted(given):
    Settings("127.0.0.1:7433", **given)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"console_listen": "x"}, "console_listen"),
        ({"console_trace_url_template": "x"}, "console_trace_url_template"),
        ({"console_listen": "127.0.0.1:0", **TLS, "tls_client_ca_file": "a"}, "console_listen"),
    ],
)
def test_a_server_names_a_wrong_setting_of_its_console(given, name):
    with pytest.raises(ConfigError, match=f"^{name}: "):
        Config(store="file:///s", **given)
