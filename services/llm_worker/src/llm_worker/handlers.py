"""From an llm job to its outcome."""

from llm_worker.client import ModelClient
from llm_worker.domain.model import ModelError, ModelRequest
from llm_worker.domain.prompt import check_prompt_length, compose_user_message
from shared.assets import AssetStore
from shared.contracts.errors import Problem
from shared.contracts.llm_params import LlmParams
from shared.contracts.values import AssetRef, TextValue
from shared.images import downscaled_data_uri
from shared.threads import run_in_thread
from shared.worker import Job, Outcome, Permanent, Retryable, Succeeded


class LlmHandler:
    """Executes `llm` jobs: composes the question, downscales the pictures, asks the model once."""

    def __init__(self, client: ModelClient, *, default_model: str) -> None:
        self._client = client
        self._default_model = default_model

    async def execute(self, job: Job[LlmParams]) -> Outcome:
        """Return the model's answer, or how it failed. Raises the errors of pictures and of the asset store."""
        request = await self._request(job)
        try:
            reply = await self._client.complete(request)
        except ModelError as err:
            problem = Problem(code=err.code, message=err.message, where=f"model {request.model}", node_id=job.node_id)
            return Retryable(problem, err.retry_after, err.usage) if err.retryable else Permanent(problem, err.usage)
        return Succeeded(TextValue(text=reply.text), reply.usage)

    async def _request(self, job: Job[LlmParams]) -> ModelRequest:
        params = job.params
        system_prompt = job.inputs.text("system_prompt") or params.system_prompt
        check_prompt_length(system_prompt, where="system_prompt")
        question = job.inputs.text("user_message") or params.user_message
        return ModelRequest(
            model=params.model or self._default_model,
            system_prompt=system_prompt or None,
            user_message=compose_user_message(question, job.inputs.texts("texts")),
            images=tuple([await _data_uri(job.assets, image) for image in job.inputs.images("images")]),
            max_output_tokens=params.max_output_tokens,
            temperature=params.temperature,
        )


async def _data_uri(assets: AssetStore, image: AssetRef) -> str:
    return await run_in_thread(downscaled_data_uri, await assets.get(image))
