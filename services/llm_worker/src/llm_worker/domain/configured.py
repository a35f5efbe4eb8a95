"""The base of what people configure."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Configured(BaseModel):
    """A frozen value that is written by people, in camelCase or snake_case; unknown fields are refused.

    Its errors show nothing of the input, which may hold a key.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )
