"""What several calls used together; pure."""

from typing import TypeVar

from shared.contracts.events import Usage

Number = TypeVar("Number", int, float)


def add_usage(one: Usage | None, other: Usage | None) -> Usage | None:
    """Return what two calls used together; what one of them does not know is not known of both.

    None is a call that is known to have used nothing, or of which nothing is known.
    """
    if one is None or other is None:
        return one or other
    return Usage(
        model=other.model,
        input_tokens=_sum(one.input_tokens, other.input_tokens),
        cached_tokens=_sum(one.cached_tokens, other.cached_tokens),
        output_tokens=_sum(one.output_tokens, other.output_tokens),
        cost=_sum(one.cost, other.cost),
    )


def _sum(one: Number | None, other: Number | None) -> Number | None:
    return None if one is None or other is None else one + other
