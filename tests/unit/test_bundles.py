"""Bundles of events: nothing is lost in them, and what cannot be read harms none of its neighbours."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from shared.contracts import bundles
from shared.contracts.bundles import bundled, count_told, telling, unbundle
from shared.contracts.events import NodeSkipped, NodeSucceeded, RunFinished, read_event
from shared.contracts.states import RunStatus
from shared.contracts.values import TextValue

read_told = telling(read_event)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def skipped(number):
    return NodeSkipped(run_id=UUID(int=number), node_id=f"n{number}", node_type="llm", at=NOW, because_of="ask")


def answered(text):
    return NodeSucceeded(run_id=uuid4(), node_id="ask", node_type="llm", at=NOW, output=TextValue(text=text))


def test_what_is_bundled_comes_out_as_it_was():
    events = [skipped(1), answered("two\nlines, and \u2028 one more"), skipped(3)]
    (bundle,) = bundled(events)
    told = read_told(bundle.body)
    assert (told.messages, told.unreadable, bundle.count) == (events, 0, 3)
    assert [entry[:4] for entry, _ in unbundle(bundle.body)] == [
        (event.message_id, event.kind, event.run_id, event.node_type) for event in events
    ]


def test_traces_go_with_the_events_that_have_some_of_their_own():
    events = [skipped(1), skipped(2)]
    traces = {events[1].message_id: {"traceparent": "00-1-2-01"}}
    (bundle,) = bundled(events, traces)
    assert read_told(bundle.body).traces == traces


def test_nothing_makes_no_bundle():
    assert list(bundled([])) == []


def test_a_bundle_holds_so_many_events(monkeypatch):
    monkeypatch.setattr(bundles, "MAX_EVENTS", 3)
    assert [bundle.count for bundle in bundled(map(skipped, range(8)))] == [3, 3, 2]


def test_a_bundle_has_so_many_bytes_unless_a_single_event_has_more(monkeypatch):
    monkeypatch.setattr(bundles, "MAX_BYTES", 1_000)
    events = [skipped(1), skipped(2), answered("x" * 2_000), skipped(3)]
    assert [bundle.count for bundle in bundled(events)] == [2, 1, 1]


def test_an_event_by_itself_is_read_as_well():
    finished = RunFinished(
        run_id=uuid4(), at=NOW, status=RunStatus.COMPLETED, total_nodes=0, successful_nodes=0, failed_nodes=0
    )
    assert read_told(finished.to_json()).messages == [finished]


def test_an_event_that_cannot_be_read_leaves_the_others():
    (bundle,) = bundled([skipped(1), skipped(2)])
    told = read_told(bundle.body.replace(b'"nodeId":"n1"', b'"nodeId":null'))
    assert (told.messages, told.unreadable) == ([skipped(2)], 1)


def test_it_is_counted_without_reading_how_many_messages_one_tells():
    (bundle,) = bundled(map(skipped, range(3)))
    assert [count_told(body) for body in (bundle.body, skipped(1).to_json(), b"", b"[]", b"no JSON")] == [3, 1, 1, 1, 1]


@pytest.mark.parametrize("body", [b"", b"[]", b"no JSON", b'[["a","b"]]\n{}', b"{}"])
def test_what_is_no_bundle_is_refused(body):
    with pytest.raises(ValueError, match=r".+"):
        read_told(body)
