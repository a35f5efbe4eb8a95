"""The params of `llm`."""

from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from shared.contracts.json_schema import compile_schema
from shared.contracts.node_type import Params

MAX_OUTPUT_TOKENS = 32_768
MAX_REPAIRS = 3
MAX_STOPS = 16
MAX_SEED = 2**31 - 1

StopText = Annotated[str, Field(min_length=1, max_length=100)]


def _is_schema(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    compile_schema(schema)
    return schema


class LlmParams(Params):
    """A question to a vision model. Without `model` the worker's default model is asked.

    `model` is a name that one of the worker's providers knows, or `provider/name`. In `system_prompt` and
    `user_message`, `{{ name }}` stands for the connected text of the node called so. With a `response_schema` (a JSON
    Schema) the output is JSON that fits it; an answer that does not fit is sent back at most `repair_attempts` times.
    """

    model: str | None = None
    system_prompt: str = ""
    user_message: str = ""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: int = Field(default=1024, ge=1, le=MAX_OUTPUT_TOKENS)
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    stop: tuple[StopText, ...] = Field(default=(), max_length=MAX_STOPS)
    response_schema: Annotated[dict[str, JsonValue], AfterValidator(_is_schema)] | None = None
    repair_attempts: int = Field(default=1, ge=0, le=MAX_REPAIRS)
