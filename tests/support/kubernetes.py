"""JSON schemas of Kubernetes' resources, from the API descriptions that its Go modules have."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

VERSIONS = ("1.34.4", "1.35.4", "1.36.3")
_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
# Written as text in the API descriptions; a manifest may have numbers.
_TEXT_OR_NUMBER = ("io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString")


def write_schemas(folder: Path) -> str:
    """Write the schemas of each version, and that of a ServiceMonitor. Return kubeconform's pattern of their paths."""
    for version in VERSIONS:
        described = _module(f"k8s.io/kubernetes@v{version}") / "api" / "openapi-spec" / "swagger.json"
        target = folder / f"v{version}"
        target.mkdir()
        _convert(json.loads(described.read_text())["definitions"], target)
        _write_service_monitor(target)
    return f"{folder}/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


def _module(name: str) -> Path:
    """Return the folder of a Go module, which is downloaded if it is not there."""
    command = ["go", "mod", "download", "-json", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300, cwd="/")
    return Path(json.loads(done.stdout)["Dir"])


def _convert(definitions: dict[str, Any], target: Path) -> None:
    for name, definition in definitions.items():
        if name in _TEXT_OR_NUMBER:
            definition.pop("type", None)
            definition["anyOf"] = [{"type": "string"}, {"type": "number"}]
            definition.pop("format", None)
        elif "properties" in definition:
            definition.setdefault("additionalProperties", False)
    (target / "definitions.json").write_text(json.dumps({"definitions": definitions}))
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            group = f"{kind['group'].partition('.')[0]}-" if kind["group"] else ""
            path = target / f"{kind['kind'].lower()}-{group}{kind['version'].lower()}.json"
            path.write_text(json.dumps({"$ref": f"definitions.json#/definitions/{name}"}))


def _write_service_monitor(target: Path) -> None:
    folder = _module(_OPERATOR) / "example" / "prometheus-operator-crd"
    described = yaml.safe_load((folder / "monitoring.coreos.com_servicemonitors.yaml").read_text())
    [version] = described["spec"]["versions"]
    schema = _closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"$ref": "definitions.json#/definitions/" + _METADATA}
    (target / "servicemonitor-monitoring-v1.json").write_text(json.dumps(schema))


_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def _closed(schema: Any) -> Any:
    """Refuse fields that a schema does not name, as kubectl does."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found
