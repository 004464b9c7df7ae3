#!/usr/bin/env bash
# Checks formatting and generated code of the Go modules, lints them, and runs their tests against a real server.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v go >/dev/null; then
  echo "no Go: \`go\` not found" >&2
  [ -z "${CI:-}" ] || exit 1
  exit 0
fi
export GOFLAGS=-buildvcs=false
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not formatted by gofmt: $unformatted" >&2; exit 1; }

go generate ./...
git diff --exit-code -- holdfastpb holdfast/reasons.go || { echo "stale generated code: commit it" >&2; exit 1; }

for module in . temporal; do
  (
    cd "$module"
    go mod tidy -diff
    go vet ./...
    go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
    go test -race ./...
  )
done
