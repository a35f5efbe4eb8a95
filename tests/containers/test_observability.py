"""The compose profile `observability`, and what the broker tells of itself.

Grafana and Jaeger are not started here: they come as images only, and no test needs a registry of images.
"""

import json
import re
import time
from collections import Counter
from pathlib import Path
from subprocess import CalledProcessError

import pytest
import yaml
from tests.containers.compose_project import SERVICES, ComposeProject
from tests.metric_names import alerts, named_metrics
from tests.prometheus import CONFIGURATION, DASHBOARD, Prometheus

pytestmark = pytest.mark.containers

PROFILE = {"prometheus", "grafana", "jaeger"}
OF_PROFILE = ("--profile", "observability")
WITH_DEBIANS = ("-f", "docker-compose.yml", "-f", "tests/containers/prometheus.yml")
SCRAPED_SECONDS = 90  # names are looked up, and targets scraped, every 15 s


@pytest.fixture
def services(docker: None):
    """The services of the profile, as Compose understands them."""
    config = json.loads(
        ComposeProject("weft-test-config").compose("--profile", "observability", "config", "--format", "json")
    )
    return {name: service for name, service in config["services"].items() if service.get("profiles")}


@pytest.fixture
def prometheus(project: ComposeProject):
    """The Prometheus of the profile, beside the running services."""
    try:
        project.compose(*OF_PROFILE, "pull", "--quiet", "prometheus")
        with_it = OF_PROFILE
    except CalledProcessError:  # no registry can be reached
        with_it = (*WITH_DEBIANS, *OF_PROFILE)
    try:
        project.compose(*with_it, "up", "--detach", "prometheus")
        yield Prometheus(f"http://{project.compose(*with_it, 'port', 'prometheus', '9090').strip()}")
    finally:
        project.compose(*with_it, "down", "--volumes", "--rmi", "local", "prometheus")


def test_the_profile_adds_three_services_with_limits_on_loopback(services):
    assert services.keys() == PROFILE
    for service in services.values():
        assert int(service["mem_limit"]) <= 2**30
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}


def test_files_that_are_mounted_are_there_and_cannot_be_written(services):
    mounts = [mount for service in services.values() for mount in service.get("volumes", ()) if mount["type"] == "bind"]
    assert all(mount["read_only"] and Path(mount["source"]).is_dir() for mount in mounts)
    assert {Path(mount["target"]) for mount in mounts} >= {Path("/etc/prometheus"), Path("/etc/grafana/dashboards")}
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).name == DASHBOARD.name


def test_the_broker_tells_every_metric_of_it_that_dashboard_and_alerts_name(project: ComposeProject):
    told = set()
    for job in yaml.safe_load(CONFIGURATION.read_text())["scrape_configs"]:
        if job["job_name"].startswith("rabbitmq"):
            query = "&".join(f"family={family}" for family in job.get("params", {}).get("family", ()))
            (target,) = job["static_configs"][0]["targets"]
            url = f"http://{target}{job.get('metrics_path', '/metrics')}?{query}"
            code = f"from urllib.request import urlopen; print(urlopen({url!r}).read().decode())"
            told |= set(re.findall(r"^(rabbitmq_\w+)", project.python("gateway", code), flags=re.MULTILINE))

    assert named_metrics("rabbitmq_") - told == set()


def test_every_service_that_prometheus_looks_up_is_in_the_network(project: ComposeProject):
    (weft,) = [job for job in yaml.safe_load(CONFIGURATION.read_text())["scrape_configs"] if job["job_name"] == "weft"]
    (names,) = weft["dns_sd_configs"]
    assert set(names["names"]) == set(SERVICES) - {"offline-model"}
    for name in names["names"]:
        code = f"from urllib.request import urlopen; print(urlopen('http://{name}:{names['port']}/metrics').status)"
        assert project.python("gateway", code) == "200"


def test_prometheus_scrapes_everything_and_watches_the_rules(project: ComposeProject, prometheus: Prometheus):
    project.execute_example()
    expected = Counter({**dict.fromkeys(set(SERVICES) - {"offline-model"}, 1), "rabbitmq": 1, "rabbitmq_queues": 1})
    deadline = time.monotonic() + SCRAPED_SECONDS
    while (_scraped(prometheus) != expected or not _ended_runs(prometheus)) and time.monotonic() < deadline:
        time.sleep(1)
    assert _scraped(prometheus) == expected
    assert _ended_runs(prometheus) >= 1
    rules = [rule["name"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert sorted(rules) == sorted(alert["alert"] for alert in alerts())


def _scraped(prometheus: Prometheus) -> Counter[str]:
    """Count the targets that were scraped, by service, else by job."""
    try:
        targets = prometheus.ask("targets")["activeTargets"]
    except OSError:  # it is still starting
        return Counter()
    up = (target["labels"] for target in targets if target["health"] == "up")
    return Counter(labels.get("service", labels["job"]) for labels in up)


def _ended_runs(prometheus: Prometheus) -> float:
    """Return how many runs it knows to have ended."""
    found = prometheus.ask("query", query="sum(weft_runs_finished_total)")["result"]
    return float(found[0]["value"][1]) if found else 0.0
