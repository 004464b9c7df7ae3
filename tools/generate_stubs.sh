#!/usr/bin/env bash
# Generates the protobuf and gRPC stubs, with their types: the API from proto/ into client/, the store layout from
# server/proto/ into server/.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/stubs/bin/python
if [ requirements/stubs.txt -nt .venv/stubs/ready ]; then
  python3 -m venv .venv/stubs
  "$python" -m pip install --quiet --require-hashes -r requirements/stubs.txt
  touch .venv/stubs/ready
fi
PATH="$(dirname "$python"):$PATH"

api=(proto/holdfast/v1/*.proto)
"$python" -m grpc_tools.protoc -Iproto --python_out=client --mypy_out=client "${api[@]}"
service=proto/holdfast/v1/checkpoint_service.proto
"$python" -m grpc_tools.protoc -Iproto --grpc_python_out=client --mypy_grpc_out=client "$service"

layout=(server/proto/holdfast_server/layout/v1/*.proto)
"$python" -m grpc_tools.protoc -Iserver/proto --python_out=server --mypy_out=server "${layout[@]}"
