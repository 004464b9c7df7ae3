"""The compose file: its console is off by default, and open to this machine only."""

import json
import subprocess
import urllib.error
import urllib.request

import pytest
import yaml

from tests.support.repository import ROOT
from tests.support.servers import EXECUTABLE, server

SERVICES = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]


def test_ports_are_published_on_the_loopback_only():
    published = [port for each in SERVICES.values() for port in each.get("ports", ())]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_console_is_off_unless_its_profile_is_chosen():
    assert {name for name, each in SERVICES.items() if "profiles" in each} == {"console"}
    assert not [name for name in SERVICES["holdfast"]["environment"] if "CONSOLE" in name]


@pytest.mark.needs_budget("full")
def test_the_console_answers_to_names_of_this_machine_only(tmp_path):
    with server(tmp_path.as_uri()) as target:
        given = {"--target=holdfast:7433": f"--target={target}", "--listen=0.0.0.0:7434": "--listen=0.0.0.0:0"}
        command = [given.get(each, each) for each in SERVICES["console"]["command"]]
        process = subprocess.Popen([*EXECUTABLE, *command], stdout=subprocess.PIPE, text=True)
        try:
            port = json.loads(process.stdout.readline())["address"].rpartition(":")[2]

            def status(host):
                request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": host})
                try:
                    with urllib.request.urlopen(request, timeout=30) as answer:
                        return answer.status
                except urllib.error.HTTPError as error:
                    return error.code

            assert status("localhost:7434") == status("127.0.0.1:7434") == 200
            assert status("evil.example.com:7434") == 421
        finally:
            process.terminate()
            assert process.wait(30) == 0
