"""The dashboards of Grafana, and their expressions as Grafana sends them."""

import json
import re
from pathlib import Path

from tests.support.repository import ROOT

DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))


def expressions(path: Path, server: str = "") -> dict[str, str]:
    """Return the expressions of a dashboard, by the titles of their panels.

    Args:
        path: the file of the dashboard.
        server: the address of the only server that is chosen, "" for all of the job `holdfast`.

    """
    # Grafana escapes the text twice: for the regular expression, and for the quotes around it.
    instance = re.escape(server).replace("\\", "\\\\") if server else ".*"
    variables = {"$__rate_interval": "10s", "$__range": "1m", "$job": "holdfast", "$instance": instance}
    return {
        f"{panel['title']} {target['refId']}": _filled(target["expr"], variables)
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    }


def _filled(expression: str, variables: dict[str, str]) -> str:
    for name, text in variables.items():
        expression = expression.replace(name, text)
    assert "$" not in expression
    return expression
