"""What all messages on the broker have in common.

Each message knows its id, which is the same whenever the same fact is told again: repeats are recognised by it.
"""

from functools import cache
from typing import ClassVar, Protocol, TypedDict
from uuid import UUID

from pydantic import Field

from shared.contracts.base import CONTENT_TYPE, SCHEMA_VERSION, Contract


class Identified(Protocol):
    """What comes in one message on the broker."""

    @property
    def message_id(self) -> str:
        """An id that is equal for every telling of the same."""
        ...


class Message(Contract):
    """Base of all messages. `run_id` is the correlation id of everything that belongs to one run."""

    content_type: ClassVar[str] = CONTENT_TYPE

    schema_version: int = SCHEMA_VERSION
    run_id: UUID

    @classmethod
    @cache
    def kind_name(cls) -> str:
        """Return the stable name of this kind of message."""
        return cls.model_fields["kind"].default

    @property
    def message_id(self) -> str:
        """An id that is equal for every telling of the same fact."""
        return f"{self.run_id}/{self.kind_name()}"

    @property
    def correlation_id(self) -> str:
        """The run that the message is about."""
        return str(self.run_id)

    def to_body(self) -> bytes:
        """Return the wire form."""
        return self.to_json()


class NodeAttempt(TypedDict):
    """Which attempt at which node of which run a message is about: what all node messages have in common."""

    run_id: UUID
    node_id: str
    node_type: str
    attempt: int


class NodeMessage(Message):
    """Base of all messages about one node; `attempt` counts from 1."""

    node_id: str
    node_type: str
    attempt: int = Field(default=1, ge=1)

    @property
    def about(self) -> NodeAttempt:
        """What this message is about, to make another one about the same."""
        return NodeAttempt(run_id=self.run_id, node_id=self.node_id, node_type=self.node_type, attempt=self.attempt)

    @property
    def message_id(self) -> str:
        """An id that is equal for every telling of the same fact about the same attempt."""
        return f"{self.run_id}/{self.node_id}/{self.attempt}/{self.kind_name()}"
