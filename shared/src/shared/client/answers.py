"""The gateway's answers: what they hold, or the error that they tell."""

from http import HTTPStatus

import httpx2
from pydantic import ValidationError

from shared.client.calls import Call, T
from shared.contracts.errors import InvalidInputError, Problem, UnavailableError, WeftError, unavailable

ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 45.0  # of a stream of events: three missed heartbeats, the line is dead


def headers(api_key: str | None) -> dict[str, str]:
    """Return the headers of all requests."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def read_answer(call: Call[T], response: httpx2.Response, url: str) -> T:
    """Return what the answer to a call holds; its body must have been read."""
    raise_for_status(response, url)
    try:
        return call.read(response.json() if response.content else None)
    except (ValueError, LookupError, TypeError) as err:  # pydantic's ValidationError is a ValueError
        raise _not_understood(url, "its answer does not have the right form") from err


def raise_for_status(response: httpx2.Response, url: str) -> None:
    """Raise the error that an answer tells; its body must have been read."""
    if not response.is_success:
        raise _told_error(response) or _not_understood(url, f"it answers with status {response.status_code}")


def unreachable(url: str, err: Exception) -> UnavailableError:
    """Return the error that says that nobody answers."""
    return unavailable(
        "gateway_unreachable",
        f"no gateway answers at {url}: {err or type(err).__name__}",
        where="WEFT_GATEWAY_URL",
        fix="start it: weft dev; or correct WEFT_GATEWAY_URL",
    )


def _not_understood(url: str, reason: str) -> UnavailableError:
    return unavailable(
        "gateway_not_understood",
        f"what answers at {url} does not answer as a gateway does: {reason}",
        where="WEFT_GATEWAY_URL",
        fix="correct WEFT_GATEWAY_URL",
    )


def _told_error(response: httpx2.Response) -> WeftError | None:
    """Return the error that a problem document tells; None if the answer is none."""
    try:
        problems = tuple(Problem.model_validate(item) for item in response.json()["problems"])
    except (ValueError, LookupError, TypeError, ValidationError):
        return None
    if not problems:
        return None
    # Over a limit: the same may be allowed later.
    is_limited = response.status_code == HTTPStatus.TOO_MANY_REQUESTS
    is_unavailable = is_limited or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return UnavailableError(*problems) if is_unavailable else InvalidInputError(*problems)
