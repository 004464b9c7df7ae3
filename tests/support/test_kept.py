"""Servers that the processes of a run share."""

import subprocess
import sys
import time
import urllib.error
import urllib.request

from tests.support import object_servers
from tests.support.repository import ROOT
from tests.support.required import require

RUN = """
import sys
from pathlib import Path
from tests.support import kept
print(*(kept.url_of("versitygw", Path(sys.argv[1])) for _ in range(2)), flush=True)
sys.stdin.read()
"""


def test_a_run_shares_one_server_which_stops_when_the_run_is_killed(tmp_path, monkeypatch):
    require(object_servers.missing("versitygw"))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as run:
        first, second = run.stdout.readline().split()
        assert first == second
        assert answers(first)
        run.kill()
    while answers(first):
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
