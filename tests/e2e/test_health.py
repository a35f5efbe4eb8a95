"""Every service says over HTTP that it lives, that it is ready, and what it measures."""

import httpx2
import pytest

from cli.supervisor import SERVICES

ANEW = {"useCache": False}  # crops of the same photograph would be reused


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_answers_for_its_health(system, name):
    with httpx2.Client(base_url=system.supervisor.service_url(name)) as http:
        assert http.get("/live").json() == {"status": "live"}
        assert http.get("/ready").json() == {"ready": True, "failing": []}
        metrics = http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "process_resident_memory_bytes" in metrics.text


def test_metrics_count_what_was_done(system):
    run_id = system.start_sample_run(options=ANEW)
    assert system.finished(run_id).status == "completed"
    with httpx2.Client(base_url=system.supervisor.service_url("orchestrator")) as http:
        assert 'weft_runs_finished_total{status="completed"}' in http.get("/metrics").text
    with httpx2.Client(base_url=system.supervisor.service_url("crop_worker")) as http:
        assert 'weft_job_seconds_count{node_type="crop_image",outcome="Succeeded"}' in http.get("/metrics").text
