"""The spans of a run leave every process that has a part in it."""

from tests.e2e.waiting import until

from cli.supervisor import SERVICES

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ANEW = {"useCache": False}  # crops of the same photograph would be reused


def test_all_services_export_their_spans_of_one_trace(system, collector):
    parent = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
    run_id = system.start_sample_run(options=ANEW, headers=parent)
    assert system.finished(run_id).status == "completed"
    expected = {f"weft-{name}" for name in SERVICES}
    until(lambda: {span.service for span in collector.about(TRACE_ID)} == expected)
