#!/usr/bin/env bash
# Build the driver into build/driver.mjs, and the client that it drives.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --no-audit --no-fund --prefer-offline --silent
fi
npm run --silent build >/dev/null
npx esbuild conformance/driver.ts --bundle --packages=external --platform=node --target=node20 --format=esm \
  --outfile=build/driver.mjs --log-level=warning
