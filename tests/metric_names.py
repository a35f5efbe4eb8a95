"""The metrics that the committed dashboard and alert rules name."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from tests.prometheus import DASHBOARD, RULES

_NAME = re.compile(r"\b(?:weft|rabbitmq|process)_[a-z_]+\b")


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard, without the titles of its rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return json.loads(DASHBOARD.read_text())


def alerts() -> list[dict[str, Any]]:
    """Return the alert rules."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    """Return the queries of the dashboard as Grafana sends them, with something in place of its variables."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m").replace("$node_type", ".*") for query in queries]


def named_metrics(prefix: str) -> set[str]:
    """Return the names that begin so in any query of the dashboard or the alerts."""
    return {name for query in _queries() for name in _NAME.findall(query) if name.startswith(prefix)}


def _queries() -> Iterator[str]:
    yield from dashboard_queries()
    yield from (alert["expr"] for alert in alerts())
