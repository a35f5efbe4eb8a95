"""The ways in which results are written."""

from enum import StrEnum


class Output(StrEnum):
    """What stdout holds."""

    TEXT = "text"
    JSON = "json"
