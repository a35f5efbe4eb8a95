"""The ways in which results are written."""

from enum import StrEnum


class Output(StrEnum):
    """What stdout holds."""

    TEXT = "text"
    JSON = "json"


class ListOutput(StrEnum):
    """What stdout holds where there is much to tell; `jsonl` is a JSON object on each line."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class StreamOutput(StrEnum):
    """What stdout holds where the telling has no end."""

    TEXT = "text"
    JSONL = "jsonl"
