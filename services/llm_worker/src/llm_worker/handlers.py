"""From an llm job to its outcome."""

from functools import partial

from llm_worker.client import Tell
from llm_worker.clients import ModelClients
from llm_worker.conversation import Conversation
from llm_worker.domain.advice import advice_for
from llm_worker.domain.directory import Directory
from llm_worker.domain.model import ModelCall, ModelCalls, ModelError, ModelReply
from llm_worker.domain.prompt import Prompt, Written, compose
from llm_worker.domain.question import Question, make_question, reply_warnings
from llm_worker.pictures import Pictures
from shared.contracts.errors import Problem
from shared.contracts.llm_params import LlmParams
from shared.contracts.values import TextValue
from shared.decoding import DecoderPool
from shared.worker import Job, Outcome, Permanent, Retryable, Succeeded


class LlmHandler:
    """Executes `llm` jobs: composes the question, downscales the pictures, asks the model, checks its answer.

    Every call goes through `calls`; a node that names no model asks `default_model`.
    """

    def __init__(
        self,
        directory: Directory,
        clients: ModelClients,
        calls: ModelCalls,
        decoders: DecoderPool,
        *,
        default_model: str,
    ) -> None:
        self._directory = directory
        self._clients = clients
        self._calls = calls
        self._default_model = default_model
        self._pictures = Pictures(decoders)

    async def execute(self, job: Job[LlmParams]) -> Outcome:
        """Return the model's answer, or how it failed. Raises the errors of pictures and of the asset store."""
        question = await self._question(job)
        try:
            reply = await Conversation(job, question, self._ask).hold()
        except ModelError as err:
            return _failed(err, question)
        return Succeeded(TextValue(text=reply.text), reply.usage, (*question.warnings, *reply_warnings(reply)))

    async def _question(self, job: Job[LlmParams]) -> Question:
        chosen = self._directory.choose(job.params.model or self._default_model)
        prompt = _prompt(job)
        images = await self._pictures.data_uris(job.assets, job.inputs.images("images"), chosen.provider)
        return make_question(job.params, chosen, prompt, images)

    async def _ask(self, call: ModelCall, tell: Tell) -> ModelReply:
        return await self._calls.complete(call, partial(self._clients.complete, call.provider, call.request, tell))


def _prompt(job: Job[LlmParams]) -> Prompt:
    return compose(
        _written(job, "system_prompt", job.params.system_prompt),
        _written(job, "user_message", job.params.user_message),
        job.inputs.texts("texts"),
    )


def _written(job: Job[LlmParams], handle: str, own: str) -> Written:
    """Return what an edge brought, else the node's own."""
    brought = job.inputs.text(handle)
    return Written(handle, brought, own=False) if brought else Written(handle, own)


def _failed(err: ModelError, question: Question) -> Retryable | Permanent:
    problem = Problem(
        code=err.code,
        message=err.message,
        where=f"model {question.request.model} of provider {question.provider.name}",
        fix=advice_for(err.code),
    )
    return Retryable(problem, err.retry_after, err.usage) if err.retryable else Permanent(problem, err.usage)
