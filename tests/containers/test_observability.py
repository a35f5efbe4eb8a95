"""The compose profile `observability`, and what the broker tells of itself.

Its images are not started here: what they are given is read by the real tools in tests/integration and tests/e2e.
"""

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.containers.compose_project import SERVICES, ComposeProject
from tests.metric_names import named_metrics
from tests.prometheus import CONFIGURATION, DASHBOARD

pytestmark = pytest.mark.containers

PROFILE = {"prometheus", "grafana", "jaeger"}


@pytest.fixture
def services(docker: None):
    """The services of the profile, as Compose understands them."""
    config = json.loads(
        ComposeProject("weft-test-config").compose("--profile", "observability", "config", "--format", "json")
    )
    return {name: service for name, service in config["services"].items() if service.get("profiles")}


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
