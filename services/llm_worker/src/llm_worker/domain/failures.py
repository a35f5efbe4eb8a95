"""What the errors of model servers mean: stable codes for what each says in its own way; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType


class ModelErrorCode(StrEnum):
    """Every way in which a call can fail; the values are stable."""

    RATE_LIMITED = "llm_rate_limited"
    QUOTA = "llm_quota"
    UNAVAILABLE = "llm_unavailable"
    CIRCUIT_OPEN = "llm_circuit_open"
    TIMEOUT = "llm_timeout"
    INCOMPLETE = "llm_incomplete"
    BAD_REQUEST = "llm_bad_request"
    CONTEXT_LENGTH = "llm_context_length"
    AUTH = "llm_auth"
    NOT_FOUND = "llm_not_found"
    INVALID_OUTPUT = "llm_invalid_output"
    REFUSED = "llm_refused"

    @property
    def passes(self) -> bool:
        """Whether the same call may succeed later."""
        return self in _PASSING


_PASSING = frozenset(
    {ModelErrorCode.RATE_LIMITED, ModelErrorCode.UNAVAILABLE, ModelErrorCode.TIMEOUT, ModelErrorCode.INCOMPLETE}
)


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error as a server told it: its HTTP status; what its body gives as code, type and status, in lower case."""

    status: int
    codes: frozenset[str] = frozenset()
    message: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """What an error means whose status, code and words are these; what is not said matches all.

    Of the `codes` one must be in the body, of the `words` one in the message; both are in lower case.
    """

    meaning: ModelErrorCode
    status: int | None = None
    codes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    with_retry_after: bool = False

    def fits(self, error: ProviderError) -> bool:
        """Say whether an error is one of this kind."""
        message = error.message.casefold()
        return (
            self.status in (None, error.status)
            and (not self.codes or not error.codes.isdisjoint(self.codes))
            and (not self.words or any(word in message for word in self.words))
            and (not self.with_retry_after or error.retry_after is not None)
        )


# The words are those that several servers share; what only one of them says is in its profile.
_COMMON_RULES: Sequence[ErrorRule] = (
    ErrorRule(ModelErrorCode.QUOTA, codes=("insufficient_quota", "billing_hard_limit_reached", "insufficient_balance")),
    ErrorRule(ModelErrorCode.QUOTA, status=HTTPStatus.PAYMENT_REQUIRED),
    ErrorRule(ModelErrorCode.REFUSED, codes=("content_filter", "content_policy_violation", "moderation_blocked")),
    ErrorRule(ModelErrorCode.CONTEXT_LENGTH, codes=("context_length_exceeded",)),
    ErrorRule(
        ModelErrorCode.CONTEXT_LENGTH,
        status=HTTPStatus.BAD_REQUEST,
        words=("maximum context length", "context length exceeded", "context window", "prompt is too long"),
    ),
    ErrorRule(ModelErrorCode.NOT_FOUND, codes=("model_not_found",)),
)
_BY_STATUS: Mapping[int, ModelErrorCode] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: ModelErrorCode.AUTH,
        HTTPStatus.FORBIDDEN: ModelErrorCode.AUTH,
        HTTPStatus.NOT_FOUND: ModelErrorCode.NOT_FOUND,
        HTTPStatus.REQUEST_TIMEOUT: ModelErrorCode.TIMEOUT,
        HTTPStatus.CONFLICT: ModelErrorCode.UNAVAILABLE,
        HTTPStatus.TOO_MANY_REQUESTS: ModelErrorCode.RATE_LIMITED,
    }
)
_TIMEOUT_AT_CLOUDFLARE = 524
# Something between the server and here lost patience; the server may go on, and charge.
_MAY_GO_ON = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT, _TIMEOUT_AT_CLOUDFLARE})


def classify(error: ProviderError, rules: Sequence[ErrorRule]) -> ModelErrorCode:
    """Return what an error means, by the server's own rules, then by those that hold for all, then by its status."""
    for rule in (*rules, *_COMMON_RULES):
        if rule.fits(error):
            return rule.meaning
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ModelErrorCode.UNAVAILABLE
    return _BY_STATUS.get(error.status, ModelErrorCode.BAD_REQUEST)


def may_go_on(error: ProviderError) -> bool:
    """Say whether the call may be carried out, and charged, although it was answered with an error."""
    return error.status in _MAY_GO_ON
