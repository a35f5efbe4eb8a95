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


MEASURED = {
    "gateway": ['weft_publish_seconds_count{exchange="weft.runs"}', 'weft_http_request_seconds_count{method="POST"'],
    "orchestrator": [
        'weft_runs_finished_total{status="completed"}',
        'weft_batch_messages_count{consumer="orchestrator"}',
        'weft_batch_seconds_count{consumer="orchestrator"}',
        "weft_journal_lag_seconds_count",
        "weft_open_runs",
        "weft_consumers_lost_total 0.0",
    ],
    "crop_worker": [
        'weft_node_seconds_count{node_type="crop_image",outcome="Succeeded"}',
        'weft_node_queue_wait_seconds_count{node_type="crop_image"}',
        'weft_jobs_in_hand{node_type="crop_image"} 0.0',
    ],
    "llm_worker": [
        'weft_model_seconds_count{model="offline",outcome="succeeded",provider="default"}',
        'weft_model_tokens_total{direction="input",model="offline",provider="default"}',
        'weft_model_breaker_open{provider="default"} 0.0',
    ],
    "run_tracker": ["weft_history_lag_seconds_count", 'weft_batch_messages_count{consumer="run_tracker"}'],
}


def test_metrics_count_what_was_done(system):
    run_id = system.start_sample_run(options=ANEW)
    assert system.finished(run_id).status == "completed"
    for service, expected in MEASURED.items():
        with httpx2.Client(base_url=system.supervisor.service_url(service)) as http:
            metrics = http.get("/metrics").text
        assert not [line for line in expected if line not in metrics], metrics
