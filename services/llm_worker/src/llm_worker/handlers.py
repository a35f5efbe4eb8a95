"""From an llm job to its outcome."""

from llm_worker.client import ModelClient
from llm_worker.domain.model import ModelError, ModelRequest
from llm_worker.domain.prompt import check_prompt_length, compose_user_message
from shared.assets import AssetStore
from shared.contracts.commands import NodeExecute
from shared.contracts.errors import Problem
from shared.contracts.node_types import LlmParams
from shared.contracts.values import ImageValue, TextValue
from shared.images import downscaled_data_uri
from shared.threads import run_in_thread
from shared.worker import Outcome, Permanent, Retryable, Succeeded


class LlmHandler:
    """Executes `llm` jobs: composes the question, downscales the pictures, asks the model once."""

    def __init__(self, client: ModelClient, assets: AssetStore, *, default_model: str) -> None:
        self._client = client
        self._assets = assets
        self._default_model = default_model

    async def execute(self, job: NodeExecute) -> Outcome:
        """Return the model's answer, or how it failed. Raises the errors of pictures and of the asset store."""
        request = await self._request(job)
        try:
            reply = await self._client.complete(request)
        except ModelError as err:
            problem = Problem(code=err.code, message=err.message, where=f"model {request.model}", node_id=job.node_id)
            return Retryable(problem, err.retry_after, err.usage) if err.retryable else Permanent(problem, err.usage)
        return Succeeded(TextValue(text=reply.text), reply.usage)

    async def _request(self, job: NodeExecute) -> ModelRequest:
        params = LlmParams.model_validate(job.params)
        system_prompt = _connected_text(job, "system_prompt") or params.system_prompt
        check_prompt_length(system_prompt, where="system_prompt")
        question = _connected_text(job, "user_message") or params.user_message
        return ModelRequest(
            model=params.model or self._default_model,
            system_prompt=system_prompt or None,
            user_message=compose_user_message(question, _named_texts(job)),
            images=tuple([await self._data_uri(value) for value in _images(job)]),
            max_output_tokens=params.max_output_tokens,
            temperature=params.temperature,
        )

    async def _data_uri(self, image: ImageValue) -> str:
        return await run_in_thread(downscaled_data_uri, await self._assets.get(image.asset))


def _connected_text(job: NodeExecute, handle: str) -> str | None:
    texts = [brought.value.text for brought in job.inputs.get(handle, ()) if isinstance(brought.value, TextValue)]
    return texts[0] if texts else None


def _named_texts(job: NodeExecute) -> list[tuple[str, str]]:
    brought = job.inputs.get("texts", ())
    return [(item.source, item.value.text) for item in brought if isinstance(item.value, TextValue)]


def _images(job: NodeExecute) -> list[ImageValue]:
    return [item.value for item in job.inputs.get("images", ()) if isinstance(item.value, ImageValue)]
