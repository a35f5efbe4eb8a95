"""How many tokens a call will take, before anybody knows: an estimate that is corrected by what it took; pure."""

from collections.abc import Iterable
from math import ceil

from llm_worker.domain.model import ModelRequest
from shared.contracts.commands import NodeExecute
from shared.contracts.llm_params import LlmParams
from shared.contracts.values import ImageValue, TextValue

# English has about four; other languages and code have fewer, and an estimate that is too low costs a refusal.
CHARACTERS_PER_TOKEN = 3
# A picture of 1024 x 1024 takes between 250 and 1,500, depending on the provider.
IMAGE_TOKENS = 1_000


def estimated_tokens(request: ModelRequest) -> int:
    """Return about how many tokens a call takes, its answer as long as it may be."""
    corrections = (part for item in request.corrections for part in (item.answer, item.complaint))
    texts = (request.system_prompt or "", request.user_message, str(request.response_schema or ""), *corrections)
    return _estimate(texts, len(request.images), request.max_output_tokens)


def estimated_tokens_of_job(job: NodeExecute, params: LlmParams) -> int:
    """Return the same for the first call of a job, whose pictures have not been read."""
    values = [item.value for items in job.inputs.values() for item in items]
    texts = [value.text for value in values if isinstance(value, TextValue)]
    texts += [params.system_prompt, params.user_message, str(params.response_schema or "")]
    return _estimate(texts, sum(isinstance(value, ImageValue) for value in values), params.max_output_tokens)


def _estimate(texts: Iterable[str], images: int, max_output_tokens: int) -> int:
    return ceil(sum(map(len, texts)) / CHARACTERS_PER_TOKEN) + images * IMAGE_TOKENS + max_output_tokens
