"""Rows of the tables, and what they are in Python."""

import json
from collections.abc import Mapping
from typing import Any

import asyncpg

from shared.contracts.base import Contract, without_nul

_JSON_COLUMNS = frozenset(
    {"result", "problems", "metadata", "start", "success", "failure", "retry", "given_up", "usage"}
)


def to_row(record: Contract) -> str:
    """Return a record as the JSON object that the merging statements take."""
    row = record.model_dump_json(by_alias=False, exclude_none=True).encode()
    return without_nul(row).decode()


def known(row: asyncpg.Record) -> Mapping[str, Any]:
    """Return the columns of a row that are not NULL, by name; JSON is read."""
    told = {name: value for name, value in row.items() if value is not None}
    return told | {name: json.loads(told[name]) for name in _JSON_COLUMNS & told.keys()}
