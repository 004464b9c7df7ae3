"""The Helm chart: its values are checked, its manifests are valid, and a server understands the settings in them."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from holdfast_server.config_sources import load

from tests.support import kubernetes
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.repository import ROOT
from tests.support.required import require
from tests.support.servers import EXECUTABLE

CHART = ROOT / "deploy" / "helm" / "holdfast"
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
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
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


def rendered(values, version=kubernetes.VERSIONS[0]):
    """Return the manifests as text."""
    done = helm("template", "test", str(CHART), "--namespace", "ns", "--kube-version", version, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests(values):
    """Return the manifests by kind and name."""
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(rendered(values)) if each}


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
    [values] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    text = rendered(yaml.safe_load(values))
    assert kubeconform(schemas, kubernetes.VERSIONS[0], text).returncode == 0


def environment(pod, folder=Path("/")):
    """Return the environment of a pod's container, with the files of its Secrets in a folder."""
    given = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    return {name: value.replace("/etc/holdfast", f"{folder}/etc/holdfast") for name, value in given.items()}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_a_server_understands_the_settings_of_a_pod(values):
    config = load({}, environment(pod_of(values)), Path("/"))
    config.require_protected_listen()
    assert config.store == (values.get("store", {}).get("url") or "file:///var/lib/holdfast")
    for name, value in values.get("settings", {}).items():
        assert getattr(config, name) == (tuple(value) if isinstance(value, list) else value)


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
    assert all(each.keys() == {"name", "value"} for each in container["env"])
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
