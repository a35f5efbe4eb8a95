"""The params of `llm`."""

from typing import Annotated

from pydantic import Field

from shared.contracts.node_type import Params

MAX_OUTPUT_TOKENS = 32_768


class LlmParams(Params):
    """A question to a vision model. Without `model` the worker's default model is asked."""

    model: str | None = None
    system_prompt: str = ""
    user_message: str = ""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: int = Field(default=1024, ge=1, le=MAX_OUTPUT_TOKENS)
