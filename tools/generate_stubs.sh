#!/usr/bin/env bash
# Generates the protobuf and gRPC stubs, with their types, from proto/ into client/ and server/.
# By tools of their own, not the newest: stubs refuse to load beside a library that is older than they are.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/stubs/bin/python
if [ ! -e .venv/stubs/ready ]; then
  python3 -m venv .venv/stubs
  "$python" -m pip install --quiet grpcio-tools==1.74.0 mypy-protobuf==5.1.0
  touch .venv/stubs/ready
fi
PATH="$(dirname "$python"):$PATH"

generate() { # target folder, proto files
  local target=$1
  shift
  "$python" -m grpc_tools.protoc -Iproto \
    --python_out="$target" --grpc_python_out="$target" \
    --mypy_out="$target" --mypy_grpc_out="$target" "$@"
}
generate client proto/holdfast/v1/*.proto
generate server proto/holdfast_server/storage/v1/*.proto
find client/holdfast/v1 server/holdfast_server/storage -name '*_pb2_grpc.py*' -size -1k -delete
for message_only in client/holdfast/v1/checkpoint client/holdfast/v1/errors server/holdfast_server/storage/v1/marker; do
  rm -f "${message_only}_pb2_grpc.py" "${message_only}_pb2_grpc.pyi"
done
