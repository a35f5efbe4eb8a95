"""How a call of a model ended, as its row in the ledger tells it; pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from llm_worker.domain.model import ModelError, ModelErrorCode, ModelReply
from shared.contracts.base import Contract
from shared.contracts.events import Usage

CANCELLED = "cancelled"
DEFECT = "internal_error"


class CallStatus(StrEnum):
    """What is known of a call; `unknown` is one that may have been carried out, and charged, without a reply."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class KeptError(Contract):
    """A ModelError as JSON, so that who asks again is told the same."""

    code: ModelErrorCode
    message: str
    retryable: bool
    retry_after: float | None = None
    usage: Usage | None = None
    ambiguous: bool = False

    @classmethod
    def of(cls, err: ModelError) -> "KeptError":
        """Return an error as it is kept."""
        return cls(
            code=err.code,
            message=err.message,
            retryable=err.retryable,
            retry_after=err.retry_after,
            usage=err.usage,
            ambiguous=err.ambiguous,
        )

    def as_error(self) -> ModelError:
        """Return the error to raise."""
        return ModelError(
            self.code,
            self.message,
            retryable=self.retryable,
            retry_after=self.retry_after,
            usage=self.usage,
            ambiguous=self.ambiguous,
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended. Of `reply` and `error` one is there, unless nobody knows how it ended."""

    status: CallStatus
    error_code: str | None = None
    usage: Usage | None = None
    reply: ModelReply | None = None
    error: KeptError | None = None

    @property
    def cost(self) -> Decimal | None:
        """US dollars, just as they were told: the shortest decimal number that stands for the float."""
        return None if self.usage is None or self.usage.cost is None else Decimal(str(self.usage.cost))


def answered(reply: ModelReply) -> Ending:
    """Return the end of a call that was answered."""
    return Ending(CallStatus.SUCCEEDED, usage=reply.usage, reply=reply)


def failed(err: ModelError) -> Ending:
    """Return the end of a call that failed; `unknown`, where it may have been carried out all the same."""
    status = CallStatus.UNKNOWN if err.ambiguous else CallStatus.FAILED
    return Ending(status, err.code, err.usage, error=KeptError.of(err))


def given_up(code: str) -> Ending:
    """Return the end of a call whose answer nobody waited for, or could read."""
    return Ending(CallStatus.UNKNOWN, code)
