#!/usr/bin/env bash
# Check, build and test the client and the saver for LangGraph.js, with their examples, against a real server.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v npm >/dev/null; then
  echo "no Node.js: \`npm\` not found" >&2
  [ -z "${CI:-}" ] || exit 1
  exit 0
fi
# The saver's tools and types are those of the client, which is built first.
for package in . ../typescript-langgraph; do
  (
    cd "$package"
    npm ci --no-audit --no-fund --prefer-offline --silent
    npm run --silent build >/dev/null
    npm run --silent lint
    npm test --silent
  )
done
npm run --silent types
