#!/usr/bin/env bash
# Generates holdfastpb from proto/, with plugins of fixed versions and the compiler of the Python stubs.
set -euo pipefail
cd "$(dirname "$0")"
root=../..
python=$root/.venv/stubs/bin/python
[ -x "$python" ] || "$root/tools/generate_stubs.sh"
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT
GOBIN=$plugins go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$plugins go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2

# The package belongs to this module, whatever go_package says.
options=(--go_opt=module=holdfast.dev/go --go-grpc_opt=module=holdfast.dev/go)
for file in "$root"/proto/holdfast/v1/*.proto; do
  name=holdfast/v1/$(basename "$file")
  options+=("--go_opt=M$name=holdfast.dev/go/holdfastpb;holdfastpb" "--go-grpc_opt=M$name=holdfast.dev/go/holdfastpb;holdfastpb")
done
PATH=$plugins:$PATH "$python" -m grpc_tools.protoc "-I$root/proto" --go_out=. --go-grpc_out=. "${options[@]}" \
  "$root"/proto/holdfast/v1/*.proto
