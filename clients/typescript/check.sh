#!/usr/bin/env bash
# Check, build and test the client and its example against a real server.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v npm >/dev/null; then
  echo "typescript: skipped, npm is not installed" >&2
  [ -z "${CI:-}" ] && exit 0
  exit 1
fi
npm ci --no-audit --no-fund --prefer-offline --silent
npm run --silent build >/dev/null
npm run --silent lint
npm run --silent types
npm test --silent
