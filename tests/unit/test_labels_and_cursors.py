"""Tags, metadata and cursors: what is accepted of them, and what they change."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.contracts.commands import RunStart
from shared.contracts.cursors import MAX_CURSOR_LENGTH, RunCursor
from shared.contracts.errors import InvalidInputError
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.history import ListRuns
from shared.contracts.labels import MAX_METADATA_BYTES, MAX_TAG_LENGTH, MAX_TAGS

GRAPH = WorkflowGraph(nodes=(Node(id="n", type="text"),))


def start(**labels):
    return RunStart.model_validate({"run_id": uuid4(), "graph": GRAPH, **labels}, by_name=True)


def test_a_tag_counts_once():
    assert start(tags=["b", "a", "b"]).tags == ("b", "a")


@pytest.mark.parametrize("tags", [["x"] * (MAX_TAGS + 1), [""], ["x" * (MAX_TAG_LENGTH + 1)]])
def test_tags_are_bounded(tags):
    with pytest.raises(ValidationError):
        start(tags=tags)


def test_metadata_are_bounded_as_json():
    assert start(metadata={"a": "x" * (MAX_METADATA_BYTES - 8)}).metadata
    with pytest.raises(ValidationError, match="metadata may have"):
        start(metadata={"a": "x" * (MAX_METADATA_BYTES - 7)})


def test_labels_are_part_of_what_a_start_asks_for():
    digests = {start(**labels).digest for labels in ({}, {"tags": ["a"]}, {"metadata": {"a": 1}}, {"owner": "ann"})}
    assert len(digests) == 4
    assert start(tags=["a"]).digest == start(tags=["a"]).digest


@given(st.datetimes(datetime(1900, 1, 2), datetime(2999, 12, 30), timezones=st.just(UTC)), st.uuids())  # noqa: DTZ001 -- bounds
def test_a_cursor_comes_back_as_it_was(created_at, run_id):
    cursor = RunCursor(created_at=created_at, run_id=run_id)
    assert RunCursor.from_text(cursor.to_text()) == cursor
    assert len(cursor.to_text()) < MAX_CURSOR_LENGTH


@given(st.text(max_size=100))
def test_any_other_text_is_no_cursor(text):
    with pytest.raises(InvalidInputError, match="invalid_cursor"):
        RunCursor.from_text(text)


@pytest.mark.parametrize("since", ["2026-01-01T00:00:00", "1899-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"])
def test_moments_have_a_zone_and_a_sensible_year(since):
    with pytest.raises(ValidationError):
        ListRuns.model_validate({"since": since})


def test_moments_are_in_utc():
    assert ListRuns.model_validate({"since": "2026-01-01T01:00:00+01:00"}).since == datetime(2026, 1, 1, tzinfo=UTC)
    assert (
        RunCursor.model_validate({"createdAt": "2026-01-01T01:00:00+01:00", "runId": UUID(int=1)}).created_at.hour == 0
    )
