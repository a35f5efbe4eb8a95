"""What Grafana and people need of the committed dashboard and alerts."""

import json
import re

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.metric_names import alerts, dashboard, panels
from tests.prometheus import FILES, ROOT, RULES_TEST

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GRID = 24  # columns of Grafana's


def provisioned(kind):
    return yaml.safe_load((FILES / "grafana" / "provisioning" / kind / "weft.yml").read_text())


def cells(panel):
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_panel_has_an_id_of_its_own_a_title_and_a_place():
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert all(panel["title"] for panel in every)
    taken = [cell for panel in every for cell in cells(panel)]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < GRID


def test_every_panel_says_what_it_shows():
    assert [panel["title"] for panel in panels() if not panel.get("description")] == []


def test_every_query_asks_the_chosen_data_source_and_is_named():
    assert {panel["title"] for panel in panels() if panel["datasource"] != DATA_SOURCE} == set()
    for panel in panels():
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names) > 0
    chosen, node_types = dashboard()["templating"]["list"]
    assert (chosen["name"], chosen["type"], chosen["query"]) == ("datasource", "datasource", "prometheus")
    assert node_types["datasource"] == DATA_SOURCE


def test_the_data_source_and_the_folder_of_the_dashboard_are_provisioned():
    sources = {source["type"]: source["url"] for source in provisioned("datasources")["datasources"]}
    assert sources == {"prometheus": "http://prometheus:9090", "jaeger": "http://jaeger:16686"}
    (provider,) = provisioned("dashboards")["providers"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_how_urgent_it_is_and_what_to_do(alert):
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert anchor in anchors((ROOT / page).read_text())


def test_every_alert_is_tried():
    tried = re.findall(r'ALERTS\{alertname="(\w+)", alertstate="firing"', RULES_TEST.read_text())
    assert set(tried) == {alert["alert"] for alert in alerts()}


def test_nothing_in_the_dashboard_is_unknown_to_grafanas_own_model():
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard())))
    assert _written(dashboard()) - _written(known) == set()


def _written(value, place=""):
    """Return every value with its place."""
    if isinstance(value, dict):
        return {found for name, part in value.items() for found in _written(part, f"{place}.{name}")}
    if isinstance(value, list):
        return {found for index, part in enumerate(value) for found in _written(part, f"{place}[{index}]")}
    return {(place, value)}
