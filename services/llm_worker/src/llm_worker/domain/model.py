"""What is asked of a language model, what it replies, and how a call can fail."""

from dataclasses import dataclass
from enum import StrEnum

from shared.contracts.events import Usage


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model.

    `images` are data URIs, in the order in which the model sees them; a plain URL is refused, because
    the provider would fetch it. `max_output_tokens` always caps the reply; a `temperature` of None is
    not sent, since some models reject it.
    """

    model: str
    system_prompt: str | None
    user_message: str
    images: tuple[str, ...]
    max_output_tokens: int
    temperature: float | None

    def __post_init__(self) -> None:
        if not all(image.startswith("data:") for image in self.images):
            raise ValueError("images are sent to a model as data URIs only")


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A usable answer: `text` is never empty.

    `usage.model` is the one that the server says has answered (the one asked for where it says none). Token
    counts and the finish reason are None where the server does not report them, the cost where nobody knows it.
    """

    text: str
    usage: Usage
    finish_reason: str | None


class ModelErrorCode(StrEnum):
    """Every way in which a call can fail; the values are stable."""

    RATE_LIMITED = "llm_rate_limited"
    UNAVAILABLE = "llm_unavailable"
    TIMEOUT = "llm_timeout"
    BAD_REQUEST = "llm_bad_request"
    AUTH = "llm_auth"
    NOT_FOUND = "llm_not_found"
    INVALID_OUTPUT = "llm_invalid_output"
    REFUSED = "llm_refused"


class ModelError(Exception):
    """A call that gave no usable reply.

    `retryable` says whether the same call may succeed later; `retry_after` is the wait in seconds that
    the server asked for. `usage` is known only where the server answered, and charged, in vain.
    """

    def __init__(
        self,
        code: ModelErrorCode,
        message: str,
        *,
        retryable: bool,
        retry_after: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.usage = usage
