"""What to do about a call that failed; pure."""

from collections.abc import Mapping
from types import MappingProxyType

from llm_worker.domain.failures import ModelErrorCode

_ADVICE: Mapping[ModelErrorCode, str] = MappingProxyType(
    {
        ModelErrorCode.RATE_LIMITED: "lower the provider's limits in its settings, or raise them at the provider",
        ModelErrorCode.QUOTA: "see to the account at the provider: its money or its quota is used up",
        ModelErrorCode.UNAVAILABLE: "see whether the model server runs, and whether its base URL is right",
        ModelErrorCode.TIMEOUT: "ask for less output, or give the provider a longer timeout",
        ModelErrorCode.INCOMPLETE: "resume the run; if it comes again, look at what is between here and the provider",
        ModelErrorCode.BAD_REQUEST: "change the params that the provider names, or choose another profile for it",
        ModelErrorCode.CONTEXT_LENGTH: "shorten the texts, connect fewer pictures, or ask a model of longer context",
        ModelErrorCode.AUTH: "correct the provider's API key in the worker's settings",
        ModelErrorCode.NOT_FOUND: "correct the model's name, or the provider's base URL",
        ModelErrorCode.INVALID_OUTPUT: "ask for less, raise maxOutputTokens, or simplify the response schema",
        ModelErrorCode.CIRCUIT_OPEN: "see what is wrong with the provider: its calls have failed one after the other",
        ModelErrorCode.REFUSED: "change what is asked or shown",
    }
)


def advice_for(code: ModelErrorCode) -> str:
    """Return what a person can do about a failure."""
    return _ADVICE[code]
