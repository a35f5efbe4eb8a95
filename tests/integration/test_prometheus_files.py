"""The committed configuration, rules and queries, read by the real promtool."""

import json

from tests.metric_names import dashboard_queries
from tests.prometheus import CONFIGURATION, RULES, RULES_TEST, check


def test_prometheus_takes_the_configuration_and_the_rules():
    assert "SUCCESS" in check("check", "config", CONFIGURATION)
    assert "SUCCESS" in check("check", "rules", RULES)


def test_alerts_fire_when_they_should_and_only_then():
    assert "SUCCESS" in check("test", "rules", RULES_TEST)


def test_prometheus_reads_every_query_of_the_dashboard(tmp_path):
    rules = [{"record": "query", "expr": query} for query in dashboard_queries()]
    file = tmp_path / "queries.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert len(rules) > 30
    check("check", "rules", "--lint=none", file)
