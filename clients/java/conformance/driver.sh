#!/usr/bin/env bash
# Run the driver of the conformance kit, which `mvn process-test-classes` has built.
set -euo pipefail
cd "$(dirname "$0")/.."
# The driver lives for seconds: compile fast.
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
  -cp "target/test-classes:target/classes:$(cat target/classpath)" dev.holdfast.conformance.Driver "$@"
