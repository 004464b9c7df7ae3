"""The Helm chart: its values are checked, its manifests are valid, and a server understands the settings in them."""

import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import urllib.request
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import yaml
from holdfast_server.config import Config, Rules
from holdfast_server.config_sources import load

from tests.support import kubernetes
from tests.support.certificates import Authority
from tests.support.ports import free_port, skip_without_ipv6
from tests.support.repository import ROOT
from tests.support.required import require
from tests.support.servers import EXECUTABLE

CHART = ROOT / "deploy" / "helm" / "holdfast"
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SECRET_KEY = {"name": "secret", "key": "key"}
# What a values file may look like.
VALUES = {
    "folder": {"insecure": True},
    "folder-with-tls": {
        "tls": {"secretName": "certificate", "requireClientCertificates": True},
        "store": {"url": "", "volume": {"size": "100Gi", "storageClassName": "fast"}},
        "tokens": {"secretName": "tokens"},
        "policy": {"secretName": "policy"},
        "quotas": {"secretName": "quotas", "key": "limits.toml"},
        "macKeys": {"secretName": "keys"},
    },
    "s3": {
        "insecure": True,
        "store": {"url": "s3://bucket/prefix", "credentialsSecret": "aws"},
        "settings": {
            "drain_seconds": 15.5,
            "bytes_in_flight": 2 << 30,
            "deltas": False,
            "without_deltas": ["secret"],
            "retention": {"*": {"keep_last": 5}},
        },
        "env": [{"name": "AWS_REGION", "value": "eu-central-1"}],
    },
    "s3-with-everything": {
        "tls": {"secretName": "certificate"},
        "image": {"repository": "registry.example.com/holdfast", "tag": "1", "pullSecrets": [{"name": "registry"}]},
        "store": {"url": "s3://bucket/prefix"},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "job": "holdfast-b"}},
        "autoscaling": {"enabled": True},
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}},
        "networkPolicy": {"callers": [{"namespaceSelector": {}}], "scrapers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "nodeSelector": {"e": "f"},
        "tolerations": [{"key": "g", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
    },
    "console": {"insecure": True, "console": {"enabled": True, "traceUrlTemplate": "http://jaeger/trace/{trace_id}"}},
    "console-for-browsers": {
        "tls": {"secretName": "certificate", "requireClientCertificates": True},
        "store": {"url": "s3://bucket/prefix"},
        "tokens": {"secretName": "tokens"},
        "console": {
            "enabled": True,
            "allowChanges": True,
            "hosts": ["holdfast.example.com", "other"],
            "service": {"enabled": True, "annotations": {"a": "b"}},
        },
        "networkPolicy": {"browsers": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
    },
    "ipv6": {"insecure": True, "ipv6": True, "settings": {"oidc_issuer": "https://issuer", "oidc_audience": "holdfast"}}
    | {"console": {"enabled": True, "service": {"enabled": True}}},
    # Kubernetes allows names that are numbers in YAML; some tools give every value as text.
    "texts-and-numbers": {
        "insecure": True,
        "store": {"credentialsSecret": "1e3", "volume": {"size": "1000000000", "storageClassName": "12"}},
        "tokens": {"secretName": "007"},
        "serviceAccount": {"name": "1.5"},
        "priorityClassName": "0",
        "settings": {"drain_seconds": "15.5", "calls_in_flight": "100", "deltas": "off", "grace_seconds": 1e6},
        "env": [{"name": "PORT", "value": "1"}, {"name": "SECRET", "valueFrom": {"secretKeyRef": SECRET_KEY}}],
        "podAnnotations": {"a": "true"},
    },
    "azure": {
        "insecure": True,
        "replicas": 3,
        "store": {"url": "az://container/prefix"},
        "metrics": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "serviceAccount": {"create": False, "name": "own"},
    },
}
WRONG = {
    "neither TLS nor plaintext": ({}, "tls.secretName: expected a Secret"),
    "an unknown value": ({"insecure": True, "replica": 3}, "replica"),
    "a path as the store": ({"insecure": True, "store": {"url": "/data"}}, "store"),
    "a setting that the chart sets": ({"insecure": True, "settings": {"listen": "0.0.0.0:1"}}, "/settings/listen"),
    "client certificates without TLS": (
        {"insecure": True, "tls": {"requireClientCertificates": True}},
        "tls.requireClientCertificates: needs tls.secretName",
    ),
    "replicas of a folder": ({"insecure": True, "autoscaling": {"enabled": True}}, "autoscaling.enabled: needs store"),
    "an unknown setting": ({"insecure": True, "settings": {"drain_second": 1}}, "'drain_second' not allowed"),
    "a text for a number": ({"insecure": True, "settings": {"calls_in_flight": "many"}}, "/settings/calls_in_flight"),
    "a number as a variable": ({"insecure": True, "env": [{"name": "A", "value": 1}]}, "/env/0/value': got number"),
    "a setting as a variable": (
        {"insecure": True, "env": [{"name": "HOLDFAST_CONSOLE_LISTEN", "value": "0.0.0.0:7434"}]},
        "env: HOLDFAST_CONSOLE_LISTEN: expected settings of the server in settings",
    ),
    "a variable twice": ({"insecure": True, "env": [{"name": "A", "value": "1"}] * 2}, "env: A is there twice"),
    "a label of the chart": ({"insecure": True, "podLabels": {"app.kubernetes.io/name": "other"}}, "/podLabels/app"),
    "fewer servers than the fewest": (
        {"insecure": True, "store": {"url": "s3://b"}, "autoscaling": {"enabled": True, "minReplicas": 9}},
        "autoscaling.minReplicas: expected at most autoscaling.maxReplicas, 6, got 9",
    ),
    "an empty peer, which would be everybody": (
        {"insecure": True, "networkPolicy": {"browsers": [{}]}},
        "/networkPolicy/browsers/0",
    ),
    "a console of the settings": (
        {"insecure": True, "settings": {"console_listen": "0.0.0.0:7434"}},
        "/settings/console_listen",
    ),
    "a job that no rule knows": (
        {"insecure": True, "metrics": {"serviceMonitor": {"enabled": True, "job": "other"}}},
        "/metrics/serviceMonitor/job",
    ),
    "a service of no console": (
        {"insecure": True, "console": {"service": {"enabled": True}}},
        "console.service.enabled: needs console.enabled",
    ),
    "a console for everybody, in plaintext": (
        {"insecure": True, "console": {"enabled": True, "service": {"enabled": True}}},
        "console.service.enabled: everybody who can reach it would have all rights",
    ),
    "a console for everybody, with TLS": (
        {"tls": {"secretName": "certificate"}, "console": {"enabled": True, "service": {"enabled": True}}},
        "console.service.enabled: everybody who can reach it would have all rights",
    ),
    "a console without the certificate that callers need": (
        {"tls": {"secretName": "a", "requireClientCertificates": True}, "console": {"enabled": True}},
        "console.enabled: browsers have no certificate",
    ),
    "a trace's URL without its id": (
        {"insecure": True, "console": {"enabled": True, "traceUrlTemplate": "http://jaeger"}},
        "/console/traceUrlTemplate",
    ),
    "a monitor without metrics": (
        {"insecure": True, "metrics": {"enabled": False, "serviceMonitor": {"enabled": True}}},
        "serviceMonitor.enabled: needs metrics.enabled",
    ),
}

# The first one downloads the APIs.
pytestmark = [pytest.mark.needs_budget("full"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def _tools():
    for program in ("helm", "kubeconform", "go"):
        require("" if shutil.which(program) else f"{program} not found: .ci/run installs it")


def helm(*arguments, values):
    command = ["helm", *arguments, "--values", "-"]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


def rendered(values, version=kubernetes.VERSIONS[0], release="test"):
    """Return the manifests as text."""
    done = helm("template", release, str(CHART), "--namespace", "ns", "--kube-version", version, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests(values, release="test"):
    """Return the manifests by kind and name."""
    found = yaml.safe_load_all(rendered(values, release=release))
    return {(each["kind"], each["metadata"]["name"]): each for each in found if each}


def pod_of(values):
    found = manifests(values)
    [workload] = [each for (kind, _), each in found.items() if kind in ("Deployment", "StatefulSet")]
    return workload["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def schemas(tmp_path_factory):
    return kubernetes.write_schemas(tmp_path_factory.mktemp("schemas"))


def kubeconform(schemas, version, text):
    command = ["kubeconform", "-strict", "-summary", "-kubernetes-version", version, "-schema-location", schemas, "-"]
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_finds_nothing_to_complain_about(values):
    done = helm("lint", "--strict", "--quiet", str(CHART), values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", kubernetes.VERSIONS)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_manifests_are_valid(values, version, schemas):
    done = kubeconform(schemas, version, rendered(values, version))
    assert done.returncode == 0, done.stdout
    assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


def test_a_manifest_with_an_unknown_field_is_not_valid(schemas):
    text = rendered(VALUES["s3-with-everything"])
    for right, wrong in (("readOnlyRootFilesystem:", "readOnlyRootFileSystem:"), ("relabelings:", "relabeling:")):
        assert kubeconform(schemas, kubernetes.VERSIONS[0], text.replace(right, wrong)).returncode == 1


@pytest.mark.parametrize(("values", "problem"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_refused_with_the_reason(values, problem):
    done = helm("template", "test", str(CHART), "--kube-version", kubernetes.VERSIONS[0], values=values)
    assert done.returncode != 0
    assert problem in done.stderr


def test_the_commands_of_the_guide_make_valid_manifests(schemas):
    page = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    commands = re.findall(r"```console\n(helm upgrade --install .*?)```", page, re.DOTALL)
    assert len(commands) == 2
    for command in commands:
        arguments = shlex.split(command.replace("\\\n", " "))[3:]
        text = subprocess.run(
            ["helm", "template", *arguments, "--kube-version", kubernetes.VERSIONS[-1]],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        assert kubeconform(schemas, kubernetes.VERSIONS[-1], text).returncode == 0


def test_the_values_of_the_guide_make_valid_manifests(schemas):
    page = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    texts = [rendered(yaml.safe_load(values)) for values in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert len(texts) == 2
    assert kubeconform(schemas, kubernetes.VERSIONS[0], "".join(texts)).returncode == 0


def environment(pod, folder=Path("/")):
    """Return the environment of a pod's container, with the files of its Secrets in a folder."""
    given = {each["name"]: each["value"] for each in pod["containers"][0]["env"] if "value" in each}
    return {name: value.replace("/etc/holdfast", f"{folder}/etc/holdfast") for name, value in given.items()}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_a_server_understands_the_settings_of_a_pod(values):
    config = load({}, environment(pod_of(values)), Path("/"))
    config.require_protected_listen()
    assert config.store == (values.get("store", {}).get("url") or "file:///var/lib/holdfast")
    for name, value in values.get("settings", {}).items():
        assert text_of(getattr(config, name)) == text_of(value)


def text_of(value):
    """Return a setting as a flag or a variable would have it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return json.dumps(value) if isinstance(value, list | tuple | dict) else str(value).removesuffix(".0")


def test_a_monitor_names_the_job_that_rules_and_dashboards_expect():
    monitored = {"insecure": True, "metrics": {"serviceMonitor": {"enabled": True}}}
    for values, job in ((monitored, "holdfast"), (VALUES["s3-with-everything"], "holdfast-b")):
        [endpoint] = manifests(values)["ServiceMonitor", "test-holdfast"]["spec"]["endpoints"]
        assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": job}]


def test_a_store_in_a_bucket_has_servers_and_a_folder_has_one_with_a_volume():
    bucket, folder = manifests(VALUES["s3"]), manifests(VALUES["folder"])
    assert bucket["Deployment", "test-holdfast"]["spec"]["replicas"] == 2
    assert ("PodDisruptionBudget", "test-holdfast") in bucket
    assert "replicas" not in manifests(VALUES["s3-with-everything"])["Deployment", "test-holdfast"]["spec"]
    workload = folder["StatefulSet", "test-holdfast"]["spec"]
    assert workload["replicas"] == 1
    assert ("Service", workload["serviceName"]) in folder
    assert [each["metadata"]["name"] for each in workload["volumeClaimTemplates"]] == ["store"]
    mounts = workload["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "store", "mountPath": "/var/lib/holdfast"} in mounts


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_a_pod_has_no_rights_that_it_does_not_need(values):
    pod = pod_of(values)
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # Secrets are named, never contained.
    assert all("value" in each or "secretKeyRef" in each["valueFrom"] for each in container["env"])
    assert all("secret" in each or each["name"] in ("tmp", "store") for each in pod["volumes"])


def test_a_pod_may_take_as_long_to_end_as_its_pause_and_its_drain():
    pod = pod_of(VALUES["s3"])
    assert pod["terminationGracePeriodSeconds"] >= 5 + 15.5 + 10


def test_the_probes_of_a_pod_with_tls_pass_while_its_server_serves(tmp_path):
    pod = pod_of(VALUES["s3-with-everything"])
    pair = Authority(tmp_path / "authority").issue()
    secret = tmp_path / "etc" / "holdfast" / "tls"
    secret.mkdir(parents=True)
    shutil.copy(pair.cert_file, secret / "tls.crt")
    shutil.copy(pair.key_file, secret / "tls.key")
    port = free_port()
    settings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")},
        **environment(pod, tmp_path),
        "HOLDFAST_STORE": (tmp_path / "store").as_uri(),
        "HOLDFAST_LISTEN": f"0.0.0.0:{port}",
        "HOLDFAST_METRICS_LISTEN": "127.0.0.1:0",
    }
    probes = [pod["containers"][0][f"{kind}Probe"]["exec"]["command"] for kind in ("startup", "liveness", "readiness")]

    def statuses():
        commands = [[*EXECUTABLE, *probe[1:], "--target", f"127.0.0.1:{port}"] for probe in probes]
        return [
            subprocess.run(each, env=settings, stderr=subprocess.DEVNULL, check=False).returncode for each in commands
        ]

    assert statuses() == [1, 1, 1]
    process = subprocess.Popen([*EXECUTABLE, "serve"], env=settings, stdout=subprocess.PIPE, text=True)
    try:
        assert "listens on" in process.stdout.readline()
        assert statuses() == [0, 0, 0]
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_the_probes_of_a_pod_without_tls_are_those_of_kubernetes():
    container = pod_of(VALUES["s3"])["containers"][0]
    assert container["livenessProbe"]["grpc"] == {"port": 7433}
    assert container["readinessProbe"]["grpc"] == {"port": 7433, "service": "holdfast.ready"}


def test_the_schema_has_every_setting_of_a_server_with_its_type():
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    kinds = {"integer": int, "number": float, "switch": bool, "names": tuple[str, ...]}
    assert schema.keys() == {each.name for each in fields(Config)}
    for each in fields(Config):
        stated = schema[each.name]
        if stated is not False and "$ref" in stated:
            assert kinds[stated["$ref"].rpartition("/")[2]] in (each.type, *get_args(each.type))
        else:
            assert stated is False or each.type in (str, Rules) or each.name == "drain_seconds"


def test_each_value_that_is_taken_away_is_refused_by_name_or_leaves_valid_manifests(schemas):
    everything = {"insecure": True, "store": {"url": "s3://bucket/prefix"}, "autoscaling": {"enabled": True}}
    names = [(name,) for name in DEFAULTS if name != "insecure"]
    names += [(name, inner) for name, value in DEFAULTS.items() if isinstance(value, dict) for inner in value]
    texts = []
    for name, *inner in names:
        values = everything | {name: {**everything.get(name, {}), inner[0]: None} if inner else None}
        done = helm("template", "test", str(CHART), "--kube-version", kubernetes.VERSIONS[0], values=values)
        assert done.returncode == 0 or name in done.stderr.replace("nil pointer", ""), (name, inner, done.stderr)
        assert "nil pointer" not in done.stderr, (name, inner)
        texts.append(done.stdout)
    done = kubeconform(schemas, kubernetes.VERSIONS[0], "\n---\n".join(texts))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("release", ["123", "a.b", "x" * 53, "holdfast", "my-holdfast.eu", "1.holdfast"])
def test_every_name_of_a_release_makes_names_that_kubernetes_takes(release, schemas):
    text = rendered(VALUES["console-for-browsers"], release=release) + rendered(VALUES["folder"], release=release)
    assert kubeconform(schemas, kubernetes.VERSIONS[0], text).returncode == 0
    for each in filter(None, yaml.safe_load_all(text)):
        name, labels = each["metadata"]["name"], each["metadata"]["labels"]
        # A Service's names are labels of DNS, which begin with a letter.
        assert re.fullmatch("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)
        # The controller of a StatefulSet labels pods with its name and a digest.
        assert each["kind"] != "StatefulSet" or len(name) <= 52
        assert labels["app.kubernetes.io/instance"] == release


def test_long_names_of_releases_that_differ_make_names_that_differ():
    names = {next(iter(manifests(VALUES["folder"], release="x" * 52 + end)))[1] for end in "ab"}
    assert len(names) == 2


def test_the_console_is_off_by_default_and_then_reachable_on_the_loopback_of_a_pod_only():
    assert not [name for name in environment(pod_of(VALUES["s3"])) if "CONSOLE" in name]
    found = manifests(VALUES["console"])
    assert ("Service", "test-holdfast-console") not in found
    assert environment(pod_of(VALUES["console"]))["HOLDFAST_CONSOLE_LISTEN"] == "127.0.0.1:7434"
    ports = [
        each["port"] for rule in found["NetworkPolicy", "test-holdfast"]["spec"]["ingress"] for each in rule["ports"]
    ]
    assert ports == ["grpc", "metrics"]


def test_a_console_with_a_service_needs_a_token_and_lets_the_named_peers_in():
    values = VALUES["console-for-browsers"]
    found = manifests(values)
    [port] = found["Service", "test-holdfast-console"]["spec"]["ports"]
    pod = pod_of(values)
    assert port["targetPort"] in [each["name"] for each in pod["containers"][0]["ports"]]
    [rule] = [
        rule
        for rule in found["NetworkPolicy", "test-holdfast"]["spec"]["ingress"]
        if [each["port"] for each in rule["ports"]] == [port["targetPort"]]
    ]
    assert rule["from"] == values["networkPolicy"]["browsers"]
    # The other Services do not lead to it.
    assert all(
        each["targetPort"] != "console"
        for (kind, name), found in found.items()
        if kind == "Service" and name != "test-holdfast-console"
        for each in found["spec"]["ports"]
    )


@pytest.mark.parametrize("values", [VALUES["ipv6"], VALUES["console-for-browsers"]], ids=["ipv6", "ipv4"])
def test_a_pod_with_a_console_asks_for_a_token_on_each_of_its_addresses(values, tmp_path):
    if values.get("ipv6"):
        skip_without_ipv6()
    authority = Authority(tmp_path / "authority")
    pair = authority.issue()
    secrets = tmp_path / "etc" / "holdfast"
    for name in ("tls", "tokens"):
        (secrets / name).mkdir(parents=True)
    shutil.copy(pair.cert_file, secrets / "tls" / "tls.crt")
    shutil.copy(pair.key_file, secrets / "tls" / "tls.key")
    shutil.copy(authority.ca_file, secrets / "tls" / "ca.crt")
    token_command = [*EXECUTABLE, "token", "create", "--tokens-file", secrets / "tokens" / "tokens.txt", "a"]
    subprocess.run(token_command, stdout=subprocess.DEVNULL, check=True)
    given = environment(pod_of(values), tmp_path)
    given = {name: re.sub(r":(7433|7434|9464)$", ":0", value) for name, value in given.items()}
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    settings |= given | {"HOLDFAST_STORE": (tmp_path / "store").as_uri(), "HOLDFAST_LOG_LEVEL": "info"}
    if "HOLDFAST_OIDC_ISSUER" in settings:
        settings["HOLDFAST_OIDC_ISSUER"] = "http://127.0.0.1:9"
    process = subprocess.Popen([*EXECUTABLE, "serve"], env=settings, stdout=subprocess.PIPE, text=True)
    try:
        line = json.loads(process.stdout.readline())
        scheme, port = line["console_url"].partition(":")[0], line["console_url"].rpartition(":")[2]
        hosts = ["127.0.0.1", "[::1]"] if values.get("ipv6") else ["127.0.0.1"]
        for host in hosts:
            request = urllib.request.Request(f"{scheme}://{host}:{port}/", headers={"Host": "other"})
            context = ssl._create_unverified_context() if scheme == "https" else None
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                assert "/sign-in" in answer.url
            metrics_port = line["metrics_address"].rpartition(":")[2]
            urllib.request.urlopen(f"http://{host}:{metrics_port}/metrics", timeout=30).close()
            with socket.create_connection((host.strip("[]"), int(line["address"].rpartition(":")[2])), 30):
                pass
    finally:
        process.terminate()
        assert process.wait(30) == 0
