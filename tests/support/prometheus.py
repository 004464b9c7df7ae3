"""A real Prometheus on loopback, with the project's configuration, that reads servers often."""

import json
import re
import shlex
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.repository import ROOT

FOLDER = ROOT / "deploy" / "prometheus"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus, and its HTTP API."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]

    def values(self, expression: str) -> list[float]:
        """Return the values of the series that an expression has now."""
        return [float(each["value"][1]) for each in self.get("query", query=expression)["result"]]


@contextmanager
def running(folder: Path, *addresses: str) -> Iterator[Prometheus]:
    """Run Prometheus while the block lasts: it reads the metrics at each address every second."""
    port = free_port()
    shutil.copy(FOLDER / "alerts.yaml", folder)
    given = (FOLDER / "prometheus.yaml").read_text()
    config = folder / "prometheus.yaml"
    config.write_text(given.replace('["127.0.0.1:9464"]', json.dumps(addresses)).replace("15s", "1s"))
    assert config.read_text().count("1s") == given.count("15s") == 2
    assert all(address in config.read_text() for address in addresses)
    # The command of the guide, elsewhere.
    [shown] = re.findall(r"```console\n(prometheus .*)\n", (ROOT / "docs" / "guides" / "alerts.md").read_text())
    command = shlex.split(shown.replace("deploy/prometheus/prometheus.yaml", str(config)))
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/-/ready")
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(url: str) -> None:
    """Wait until Prometheus answers with success: before, it answers that it starts."""
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=30).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
