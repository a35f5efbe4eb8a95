"""A real Prometheus, with the committed rules, scrapes the real services."""

import json
import time

import pytest
import yaml
from tests.metric_names import alerts, dashboard_queries, named_metrics
from tests.prometheus import CONFIGURATION, RULES, running_prometheus

from cli.supervisor import SERVICES

ANEW = {"useCache": False}  # crops of the same photograph would be reused
PATIENCE = 60.0  # seconds; a limit for a broken system
PARTS_OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")


@pytest.fixture
def prometheus(system, tmp_path):
    """Prometheus on the committed files, but for the addresses of the services."""
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    (weft,) = [job for job in configuration["scrape_configs"] if job["job_name"] == "weft"]
    asked = set(weft.pop("dns_sd_configs")[0]["names"])
    assert asked == set(SERVICES)
    addresses = {name: system.supervisor.service_url(name).removeprefix("http://") for name in SERVICES}
    weft["static_configs"] = [
        {"targets": [address], "labels": {"service": name}} for name, address in addresses.items()
    ]
    configuration |= {"scrape_configs": [weft], "rule_files": [str(RULES)]}
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps(configuration))  # JSON is YAML
    with running_prometheus(tmp_path, file) as prometheus:
        yield prometheus


def until(what, holds):
    """Return once something holds."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() < started + PATIENCE, what
        time.sleep(0.2)


def family(name):
    """Return the name under which a metric is declared."""
    ending = next((ending for ending in PARTS_OF_A_HISTOGRAM if name.endswith(ending)), "")
    return name.removesuffix(ending)


def test_all_services_are_scraped_and_tell_every_metric_that_dashboard_and_alerts_name(system, prometheus):
    assert system.finished(system.start_sample_run(options=ANEW)).status == "completed"
    until("all services are up", lambda: prometheus.health() == dict.fromkeys(SERVICES, "up"))

    named = {family(name) for name in named_metrics("weft_") | named_metrics("process_")}
    assert len(named) > 15
    assert named - prometheus.ask("metadata").keys() == set()


def test_rules_are_evaluated_and_queries_answered(prometheus):
    def evaluated():
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return {rule["name"] for rule in rules if rule["health"] == "ok"} == {alert["alert"] for alert in alerts()}

    until("all rules have been evaluated without an error", evaluated)
    for query in dashboard_queries():
        assert prometheus.ask("query", query=query)["resultType"] in {"vector", "scalar"}
