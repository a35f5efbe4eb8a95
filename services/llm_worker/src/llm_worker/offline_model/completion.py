"""The wire form of an answer: one JSON object, or server-sent events."""

import json
import re
from collections.abc import Iterator
from typing import Any

from llm_worker.offline_model.answer import Completion

_WORD = re.compile(r"\S+\s*|\s+")


def render_json(completion: Completion, *, call_id: str, created: int, model: str) -> bytes:
    """Return a `chat.completion` object; `created` is in Unix seconds."""
    message = {"role": "assistant", "content": completion.text, "refusal": completion.refusal}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}
    return _encode(
        {
            "id": call_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [choice],
            "usage": _usage(completion),
        }
    )


def render_events(
    completion: Completion, *, call_id: str, created: int, model: str, include_usage: bool
) -> Iterator[bytes]:
    """Yield the events of a streamed answer: the role, one per word, the finish reason, [DONE].

    With `include_usage`, each chunk has a `usage` of null, and one more chunk without choices carries it.
    """
    head: dict[str, Any] = {
        "id": call_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
    }
    if include_usage:
        head["usage"] = None
    for delta, finish_reason in _deltas(completion):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        yield _event({**head, "choices": [choice]})
    if include_usage:
        yield _event({**head, "choices": [], "usage": _usage(completion)})
    yield b"data: [DONE]\n\n"


def _deltas(completion: Completion) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant", "content": ""}, None
    if completion.refusal is not None:
        yield {"refusal": completion.refusal}, None
    for word in _WORD.findall(completion.text or ""):
        yield {"content": word}, None
    yield {}, completion.finish_reason


def _usage(completion: Completion) -> dict[str, float]:
    usage: dict[str, float] = {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "total_tokens": completion.prompt_tokens + completion.completion_tokens,
    }
    if completion.cost is not None:
        usage["cost"] = completion.cost  # as OpenRouter does; OpenAI itself reports none
    return usage


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"


def _encode(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
