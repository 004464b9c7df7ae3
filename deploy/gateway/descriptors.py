"""Writes api.binpb, the description of the API that envoy.yaml names, into the current folder.

Usage: python deploy/gateway/descriptors.py, with grpcio-tools and googleapis-common-protos installed.
"""

import importlib.resources
import sys
import tomllib
from pathlib import Path

import google.rpc
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto
from grpc_tools import protoc

FOLDER = Path(__file__).resolve().parent
PROTO = FOLDER.parent.parent / "proto"
SERVICE = "holdfast/v1/checkpoint_service.proto"
WRITTEN = Path("api.binpb")


def main() -> None:
    """Compile the API, and give its methods their paths."""
    google_protos = Path(next(iter(google.rpc.__path__))).parent.parent
    own_protos = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [f"--proto_path={each}" for each in (PROTO, google_protos, own_protos)]
    arguments += ["--include_imports", f"--descriptor_set_out={WRITTEN}", SERVICE, "google/rpc/error_details.proto"]
    if protoc.main(["protoc", *arguments]):
        sys.exit(1)
    described = FileDescriptorSet.FromString(WRITTEN.read_bytes())
    paths = tomllib.loads((FOLDER / "paths.toml").read_text())
    [service] = [service for file in described.file if file.name == SERVICE for service in file.service]
    methods = {method.name: method for method in service.method}
    for name, templates in paths.items():
        annotate(methods[name], templates)
    WRITTEN.write_bytes(described.SerializeToString())


def annotate(method: MethodDescriptorProto, templates: list[str]) -> None:
    """Give a method its paths, besides the one that it has by its name."""
    rule = method.options.Extensions[annotations_pb2.http]
    rule.post, rule.body = f"/holdfast.v1.CheckpointService/{method.name}", "*"
    for template in templates:
        rule.additional_bindings.add(get=template)


if __name__ == "__main__":
    main()
