"""From the params and inputs of a node to the request for its model; pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from llm_worker.domain.directory import Chosen
from llm_worker.domain.model import ModelReply, ModelRequest
from llm_worker.domain.prompt import Prompt
from llm_worker.domain.provider import Provider
from llm_worker.domain.wire import unsent_parameters
from shared.contracts.errors import Problem, invalid
from shared.contracts.llm_params import LlmParams


@dataclass(frozen=True, slots=True)
class Question:
    """A request, who is asked, and what a person may want to know of it."""

    provider: Provider
    request: ModelRequest
    warnings: tuple[Problem, ...] = field(default=())


def make_question(params: LlmParams, chosen: Chosen, prompt: Prompt, images: tuple[str, ...]) -> Question:
    """Return the question that a node asks; what its model does not take is left out, and warned of.

    Raises InvalidInputError `too_many_stops`.
    """
    request = ModelRequest(
        model=chosen.model,
        system_prompt=prompt.system_prompt,
        user_message=prompt.user_message,
        images=images,
        max_output_tokens=params.max_output_tokens,
        temperature=params.temperature,
        response_schema=params.response_schema,
        seed=params.seed,
        stop=params.stop,
    )
    _check_stops(request, chosen.provider)
    return Question(chosen.provider, request, (*prompt.warnings, *_left_out(request, chosen.provider)))


def reply_warnings(reply: ModelReply) -> Iterator[Problem]:
    """Yield what a person may want to know of an answer that is good all the same."""
    if reply.finish_reason == "length":
        yield Problem(
            code="llm_output_truncated",
            message="the answer ends where its cap on output tokens was reached",
            where="max_output_tokens",
            fix="raise maxOutputTokens, or ask for less",
        )
    if reply.finish_reason is None:
        yield Problem(
            code="llm_finish_reason_missing",
            message="the model server did not say why the answer ends: it may have been cut off",
            where=f"model {reply.usage.model}",
        )


def _check_stops(request: ModelRequest, provider: Provider) -> None:
    allowed = provider.traits.max_stops
    if len(request.stop) > allowed:
        raise invalid(
            "too_many_stops",
            f"{len(request.stop)} stop texts are set, and the provider {provider.name!r} takes {allowed}",
            where="stop",
            fix="set fewer",
        )


def _left_out(request: ModelRequest, provider: Provider) -> Iterator[Problem]:
    for name in unsent_parameters(request, provider.traits):
        yield Problem(
            code="llm_param_not_sent",
            message=f"the model {request.model!r} of the provider {provider.name!r} takes no {name}: it was left out",
            where=name,
            fix=f"remove {name}, or ask another model",
        )
