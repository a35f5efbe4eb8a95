"""From a request to the body of a Chat Completions call, as the server's profile wants it; pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from llm_worker.domain.model import Correction, ModelRequest
from llm_worker.domain.profiles import Parameter, Profile

_SCHEMA_NAME = "answer"


def call_body(request: ModelRequest, profile: Profile) -> dict[str, Any]:
    """Return the body of the call; it asks for a stream, and sends no parameter that the model does not take."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": list(_messages(request, profile)),
        profile.output_limit: request.max_output_tokens,
        "stream": True,
    }
    if profile.stream_usage:
        body["stream_options"] = {"include_usage": True}
    allowed = profile.parameters_of(request.model)
    body |= {name: value for name, value in _parameters(request).items() if name in allowed}
    if request.response_schema is not None and profile.json_mode != "prompt":
        body["response_format"] = _response_format(request.response_schema, profile)
    return body


def unsent_parameters(request: ModelRequest, profile: Profile) -> list[Parameter]:
    """Return what a request asks for, and the model does not take."""
    allowed = profile.parameters_of(request.model)
    return [name for name in _parameters(request) if name not in allowed]


def _parameters(request: ModelRequest) -> dict[Parameter, Any]:
    """Return the parameters that are set."""
    asked: dict[Parameter, Any] = {
        Parameter.TEMPERATURE: request.temperature,
        Parameter.SEED: request.seed,
        Parameter.STOP: list(request.stop) or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _messages(request: ModelRequest, profile: Profile) -> Iterator[dict[str, Any]]:
    instructions = "\n\n".join(part for part in (request.system_prompt, _schema_in_words(request, profile)) if part)
    question = request.user_message
    if instructions and profile.system_role == "user":
        question = f"{instructions}\n\n{question}"
    elif instructions:
        yield {"role": profile.system_role, "content": instructions}
    yield {"role": "user", "content": _content(question, request.images)}
    for correction in request.corrections:
        yield from _exchange(correction)


def _content(text: str, images: tuple[str, ...]) -> str | list[dict[str, Any]]:
    if not images:
        return text
    return [{"type": "text", "text": text}, *({"type": "image_url", "image_url": {"url": image}} for image in images)]


def _exchange(correction: Correction) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": correction.answer}
    yield {"role": "user", "content": correction.complaint}


def _schema_in_words(request: ModelRequest, profile: Profile) -> str | None:
    if request.response_schema is None or profile.json_mode == "json_schema":
        return None
    schema = json.dumps(request.response_schema, ensure_ascii=False)
    return f"Answer with nothing but JSON that fits this JSON Schema:\n{schema}"


def _response_format(schema: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    if profile.json_mode == "json_object":
        return {"type": "json_object"}
    named: dict[str, Any] = {"name": _SCHEMA_NAME, "schema": schema}
    if profile.strict_schema:
        named["strict"] = _is_strict(schema)
    return {"type": "json_schema", "json_schema": named}


def _is_strict(schema: Any) -> bool:
    """Say whether all objects of a schema are closed, and all their properties required.

    A server that is told so keeps to the schema while it writes; it refuses other schemas.
    """
    if isinstance(schema, list):
        return all(_is_strict(part) for part in cast("list[Any]", schema))
    if not isinstance(schema, dict):
        return True
    fields = cast("dict[str, Any]", schema)
    if "properties" in fields or fields.get("type") == "object":
        names = set(fields.get("properties", {}))
        if fields.get("additionalProperties") is not False or names != set(fields.get("required", ())):
            return False
    return all(_is_strict(part) for part in fields.values())
