#!/usr/bin/env bash
# Check the format, lint, build, document and test the Java client, with its example.
set -euo pipefail
cd "$(dirname "$0")"
for tool in java javac mvn; do
  if ! command -v "$tool" >/dev/null; then
    echo "clients/java: skipped, because $tool is missing"
    [ "${CI:-}" != true ]
    exit
  fi
done
mvn --quiet --batch-mode --no-transfer-progress verify
# Every public name is documented, and every reference in the documentation exists.
javadoc -quiet -Xdoclint:all -Werror -public -d target/apidocs \
  -classpath "target/classes:$(cat target/classpath)" -sourcepath src/main/java dev.holdfast.client
