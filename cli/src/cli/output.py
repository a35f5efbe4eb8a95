"""The ways in which results are written."""

from enum import StrEnum


class Output(StrEnum):
    """What stdout holds."""

    TEXT = "text"
    JSON = "json"


class Stream(StrEnum):
    """What stdout holds where one thing comes after the other."""

    TEXT = "text"
    JSONL = "jsonl"
