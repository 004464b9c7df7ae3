#!/bin/sh
# Write api.binpb, the description of the API that envoy.yaml names, into the current folder.
# Usage: PYTHON=.venv/bin/python deploy/gateway/descriptors.sh, with grpcio-tools and googleapis-common-protos installed.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
google=$("$python" -c 'import google.rpc, os; print(os.path.dirname(os.path.dirname(list(google.rpc.__path__)[0])))')
"$python" -m grpc_tools.protoc --proto_path="$root/proto" --proto_path="$google" --include_imports \
  --descriptor_set_out=api.binpb holdfast/v1/checkpoint_service.proto google/rpc/error_details.proto
