"""What is special about each kind of OpenAI-compatible server, as data: adding one is an entry in `PROFILES`.

Where the facts come from is said in docs/models.md. A server that is none of these is `generic`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from llm_worker.domain.configured import Configured
from llm_worker.domain.failures import ErrorRule, ModelErrorCode

MEGABYTE = 1024 * 1024


class Parameter(StrEnum):
    """What a node may set, and not every model takes."""

    TEMPERATURE = "temperature"
    SEED = "seed"
    STOP = "stop"


ALL = frozenset(Parameter)


class ImageBudget(Configured):
    """What a call may carry of pictures: how many, their longer side in pixels, the bytes of each as a file.

    `request_bytes` bounds the whole call. Pictures travel as data URIs in JPEG, whoever the provider is: a URL would be
    fetched by the provider, and transparency is shown on black by some and on white by others.
    """

    count: int = Field(default=16, ge=0)
    side: int = Field(default=1024, ge=1)
    image_bytes: int = Field(default=4 * MEGABYTE, ge=1)
    request_bytes: int = Field(default=20 * MEGABYTE, ge=1)


@dataclass(frozen=True, slots=True)
class ModelRule:
    """What models whose names begin in one of these ways do not take; of several rules the longest beginning counts."""

    beginnings: tuple[str, ...]
    without: frozenset[Parameter]

    def match(self, name: str) -> int:
        """Return how much of a model's name is named here; 0 is nothing."""
        return max((len(beginning) for beginning in self.beginnings if name.startswith(beginning)), default=0)


@dataclass(frozen=True, slots=True)
class Profile:
    """What is special about a kind of server.

    `hosts` are those that it is recognised by. `json_mode` is how a JSON answer is asked for: by its schema, as JSON of
    any form, or in words only; in the latter two the schema is part of the prompt. `strict_schema` where the server
    wants to be told that a schema is strict. `system_role` is the role of the system prompt; `user` is a server that
    knows none. `output_limit` is the name of the cap on output tokens. `cached_tokens` and `cost` are where `usage`
    tells of them. `must_finish` where an answer without a finish reason is known to have been cut off. `rules` say what
    its errors mean, before those that hold for all.
    """

    name: str
    hosts: tuple[str, ...] = ()
    images: ImageBudget = field(default_factory=ImageBudget)
    json_mode: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    strict_schema: bool = False
    parameters: frozenset[Parameter] = ALL
    models: tuple[ModelRule, ...] = ()
    max_stops: int = 4
    system_role: Literal["system", "developer", "user"] = "system"
    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stream_usage: bool = True
    cached_tokens: tuple[str, ...] = ("prompt_tokens_details", "cached_tokens")
    cost: tuple[str, ...] = ()
    must_finish: bool = True
    rules: tuple[ErrorRule, ...] = field(default=())

    def parameters_of(self, model: str) -> frozenset[Parameter]:
        """Return what may be set for a model."""
        name = model.rpartition("/")[2]
        rule = max(self.models, key=lambda rule: rule.match(name), default=None)
        return self.parameters - rule.without if rule and rule.match(name) else self.parameters


_OPENAI_MODELS = (
    ModelRule(("o1", "o3", "o4", "gpt-5"), without=frozenset({Parameter.TEMPERATURE, Parameter.STOP})),  # they reason
    ModelRule(("gpt-5-chat",), without=frozenset()),
)

_ALL_PROFILES = (
    Profile(
        name="openai",
        hosts=("api.openai.com",),
        images=ImageBudget(count=50, side=2048, image_bytes=10 * MEGABYTE, request_bytes=48 * MEGABYTE),
        strict_schema=True,
        models=_OPENAI_MODELS,
        system_role="developer",
        output_limit="max_completion_tokens",
    ),
    Profile(
        name="gemini",
        hosts=("generativelanguage.googleapis.com",),
        images=ImageBudget(count=50, side=1536, image_bytes=7 * MEGABYTE, request_bytes=19 * MEGABYTE),
        parameters=ALL - {Parameter.SEED},
        max_stops=5,
        rules=(
            ErrorRule(
                ModelErrorCode.AUTH, status=HTTPStatus.BAD_REQUEST, words=("api key not valid", "api_key_invalid")
            ),
            ErrorRule(ModelErrorCode.CONTEXT_LENGTH, status=HTTPStatus.BAD_REQUEST, words=("input token count",)),
        ),
    ),
    Profile(
        name="ollama",
        images=ImageBudget(count=8, side=1024, image_bytes=4 * MEGABYTE, request_bytes=32 * MEGABYTE),
        cached_tokens=(),
        rules=(ErrorRule(ModelErrorCode.NOT_FOUND, words=("try pulling it first",)),),
    ),
    Profile(
        name="vllm",
        images=ImageBudget(count=8, side=1024, image_bytes=4 * MEGABYTE, request_bytes=32 * MEGABYTE),
        rules=(ErrorRule(ModelErrorCode.CONTEXT_LENGTH, words=("maximum context length", "max_model_len")),),
    ),
    Profile(
        name="openrouter",
        hosts=("openrouter.ai",),
        images=ImageBudget(count=16, side=1568, image_bytes=5 * MEGABYTE, request_bytes=20 * MEGABYTE),
        models=_OPENAI_MODELS,
        cost=("cost",),
        rules=(
            # With a time to wait it is money that other calls hold at the moment.
            ErrorRule(ModelErrorCode.RATE_LIMITED, status=HTTPStatus.PAYMENT_REQUIRED, with_retry_after=True),
            ErrorRule(ModelErrorCode.REFUSED, status=HTTPStatus.FORBIDDEN, words=("moderation", "flagged")),
        ),
    ),
    Profile(
        name="deepseek",
        hosts=("api.deepseek.com",),
        images=ImageBudget(count=0),
        json_mode="json_object",
        parameters=ALL - {Parameter.SEED},
        models=(ModelRule(("deepseek-reasoner",), frozenset({Parameter.TEMPERATURE})),),
        max_stops=16,
        cached_tokens=("prompt_cache_hit_tokens",),
        must_finish=False,
    ),
    Profile(name="generic", cost=("cost",), must_finish=False),
)

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _ALL_PROFILES})


def profile_for_host(host: str) -> Profile:
    """Return the profile of the server at a host; `generic` where the host tells nothing."""
    named = (profile for profile in _ALL_PROFILES if _is_at(host, profile.hosts))
    return next(named, PROFILES["generic"])


def _is_at(host: str, hosts: tuple[str, ...]) -> bool:
    return any(host == known or host.endswith(f".{known}") for known in hosts)
