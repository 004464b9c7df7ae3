"""Dashboards and alert rules: each expression has data in a real Prometheus that reads a server under load."""

import json
import math
import os
import re
import shutil
import subprocess
import threading
import time
import uuid

import holdfast
import pytest
import yaml

from tests.support import prometheus
from tests.support.certificates import Authority
from tests.support.damage import damage_newest
from tests.support.dashboards import DASHBOARDS, expressions
from tests.support.otlp_receiver import receiving
from tests.support.repository import ROOT
from tests.support.required import require
from tests.support.scraping import scraped

RULES = yaml.safe_load((prometheus.FOLDER / "alerts.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
PAGE = (ROOT / "docs" / "guides" / "alerts.md").read_text()
# How long Prometheus may take until it has read and evaluated everything, on a busy machine.
_SECONDS = 240
ENGINES = ("langgraph-checkpoint", "adk-changes", "crewai-flow-state", "home-made")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_has_panels_with_a_unit_a_data_source_and_a_place_of_their_own(path):
    board = json.loads(path.read_text())
    assert board["uid"] == f"holdfast-{path.stem}"
    assert {each["name"] for each in board["templating"]["list"]} == {"datasource", "job", "instance"}
    places = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places
        assert max(x for x, _ in cells) < 24
        places |= cells
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'job="$job"' in target["expr"]


def test_there_are_dashboards_of_the_service_the_store_the_engines_and_the_capacity():
    assert [path.stem for path in DASHBOARDS] == ["capacity", "engines", "service", "store"]


def test_each_alert_has_a_section_that_names_it_and_each_section_an_alert():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    headings.remove("Rules and dashboards")
    sections = {re.sub(r"[^a-z ]", "", title.lower()).replace(" ", "-"): title for title in headings}
    assert {alert["annotations"]["section"] for alert in ALERTS} == set(sections)
    for alert in ALERTS:
        section = PAGE.partition(f"## {sections[alert['annotations']['section']]}\n")[2].partition("\n## ")[0]
        assert f"`{alert['alert']}`" in section
        assert "- **Do**:" in section
        assert alert["labels"]["severity"] in ("page", "ticket")


def test_each_alert_has_a_test():
    tested = yaml.safe_load((prometheus.FOLDER / "alerts_test.yaml").read_text())["tests"]
    for test in tested:
        quiet, fires = test["alert_rule_test"]
        assert not quiet["exp_alerts"]
        assert fires["exp_alerts"]
    assert [test["name"] for test in tested] == [alert["alert"] for alert in ALERTS]


@pytest.fixture
def _promtool():
    require("" if shutil.which("promtool") else "promtool not found: .ci/run installs prometheus")


@pytest.mark.needs_budget("full")
@pytest.mark.usefixtures("_promtool")
@pytest.mark.parametrize(
    "arguments", [("check", "config", "prometheus.yaml"), ("check", "rules", "alerts.yaml")], ids=" ".join
)
def test_promtool_accepts_the_configuration_and_the_rules(arguments):
    subprocess.run(["promtool", *arguments], cwd=prometheus.FOLDER, check=True)


@pytest.mark.needs_budget("full")
@pytest.mark.usefixtures("_promtool")
def test_each_alert_is_quiet_before_its_condition_and_fires_after_it():
    subprocess.run(["promtool", "test", "rules", "alerts_test.yaml"], cwd=prometheus.FOLDER, check=True)


class Load(threading.Thread):
    """Callers of a server, as many engines have them: saves, loads, other writers, and calls that fail.

    Args:
        target: the server.
        tls: how to reach it.

    """

    def __init__(self, target, tls):
        super().__init__()
        self._is_over = threading.Event()
        self._target, self._tls = target, tls
        self.error = None

    def run(self):
        try:
            with holdfast.Client(self._target, tls=self._tls) as client:
                while not self._is_over.wait(0.05):
                    self._round(client)
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error

    def _round(self, client):
        for form in ENGINES:
            for step in range(3):
                client.save("load", form, b"state %d " % step * 1000, format=holdfast.Format(form, 1))
            client.load("load", form)
        other = holdfast.AcceptedFormat("other", 1, 1)
        for attempt in (
            lambda: client.load("load", str(uuid.uuid4())),
            lambda: client.load("load", ENGINES[0], accepted_formats=[other]),
            lambda: client.save("load", ENGINES[0], b"x", format=holdfast.Format("f", 1), expected_revision=1),
        ):
            with pytest.raises(holdfast.HoldfastError):
                attempt()

    def end(self):
        self._is_over.set()
        self.join()
        if self.error is not None:
            raise self.error


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """Run a server under load and a Prometheus that reads it. Yield both."""
    require("" if shutil.which("prometheus") else "prometheus not found: .ci/run installs it")
    folder = tmp_path_factory.mktemp("observed")
    authority = Authority(folder / "tls")
    pair = authority.issue()
    flags = ["--tls-cert-file", str(pair.cert_file), "--tls-key-file", str(pair.key_file), "--gc-interval-seconds", "2"]
    with (
        receiving() as collector,
        scraped(
            (folder / "store").as_uri(),
            *flags,
            environment={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector}/v1/traces"},
        ) as served,
        prometheus.running(folder, served.metrics_address) as found,
    ):
        tls = holdfast.TLS(ca_file=authority.ca_file)
        load = Load(served.target, tls)
        load.start()
        try:
            yield served, found, tls, folder / "store"
        finally:
            load.end()


def wait_until(condition):
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.timeout(300)
@pytest.mark.needs_budget("full")
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_has_data(path, observed):
    _, found, _, _ = observed
    waiting = expressions(path)
    assert len(waiting) >= 10
    deadline = time.monotonic() + _SECONDS
    while waiting:
        assert time.monotonic() < deadline, waiting
        for title, expression in list(waiting.items()):
            values = found.values(expression)
            if values and not any(math.isnan(each) for each in values):
                del waiting[title]
        time.sleep(0.2)


@pytest.mark.timeout(300)
@pytest.mark.needs_budget("full")
def test_prometheus_evaluates_every_rule_and_a_damaged_checkpoint_fires_its_alert(observed):
    served, found, tls, folder = observed

    def rules():
        return [rule for group in found.get("rules")["groups"] for rule in group["rules"]]

    assert {rule["name"] for rule in rules() if rule["type"] == "alerting"} == {alert["alert"] for alert in ALERTS}
    wait_until(lambda: {rule["health"] for rule in rules()} == {"ok"})
    with holdfast.Client(served.target, tls=tls) as client:
        client.save("n", "damaged", os.urandom(100_000), format=holdfast.Format("f", 1))
        damage_newest(folder)
        with pytest.raises(holdfast.CheckpointCorruptedError):
            client.load("n", "damaged")
    wait_until(
        lambda: "HoldfastCheckpointDamaged" in {alert["labels"]["alertname"] for alert in found.get("alerts")["alerts"]}
    )


@pytest.mark.timeout(300)
@pytest.mark.needs_budget("full")
def test_prometheus_keeps_the_trace_of_a_slow_call(observed):
    _, found, _, _ = observed

    def exemplars():
        data = found.get(
            "query_exemplars",
            query='rpc_server_call_duration_seconds_bucket{job="holdfast"}',
            start=str(time.time() - 60),
            end=str(time.time()),
        )
        return [each["labels"]["trace_id"] for series in data for each in series["exemplars"]]

    wait_until(exemplars)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in exemplars())
