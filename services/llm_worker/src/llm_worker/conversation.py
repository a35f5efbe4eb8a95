"""One question to a model, and what is said after an answer that does not have the form asked for."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from llm_worker.client import Tell, tell_nobody
from llm_worker.domain.failures import ModelErrorCode
from llm_worker.domain.model import Correction, ModelCall, ModelError, ModelReply, ModelRequest
from llm_worker.domain.question import Question
from llm_worker.domain.structured import MisfitError, complaint, fitting_json
from llm_worker.domain.usage import add_usage
from shared.contracts.events import Usage
from shared.contracts.llm_params import LlmParams
from shared.worker import Job

Ask = Callable[[ModelCall, Tell], Awaitable[ModelReply]]


class Conversation:
    """Asks a question, and once more for each repair that the node allows while the answer does not fit its schema."""

    def __init__(self, job: Job[LlmParams], question: Question, ask: Ask) -> None:
        self._job = job
        self._question = question
        self._ask = ask
        self._used: Usage | None = None

    async def hold(self) -> ModelReply:
        """Return the answer with what all calls used; its text is JSON if a schema is set. Raises ModelError.

        The pieces of the first answer are told as they come; those of repairs are not, for they would follow it.
        """
        request, number = self._question.request, 1
        while True:
            reply = await self._call(request, number)
            try:
                return reply.model_copy(update={"text": self._checked(reply.text), "usage": self._used})
            except MisfitError as misfit:
                if number > self._job.params.repair_attempts or reply.finish_reason == "length":
                    raise self._failed(misfit, reply, number) from misfit
                correction = Correction(reply.text, complaint(misfit))
                request, number = replace(request, corrections=(*request.corrections, correction)), number + 1

    async def _call(self, request: ModelRequest, number: int) -> ModelReply:
        call = ModelCall(
            run_id=self._job.run_id,
            node_id=self._job.node_id,
            attempt=self._job.attempt,
            number=number,
            workflow_id=self._job.command.workflow_id,
            provider=self._question.provider,
            request=request,
        )
        try:
            reply = await self._ask(call, self._job.progress.text if number == 1 else tell_nobody)
        except ModelError as err:
            err.usage = add_usage(self._used, err.usage)
            raise
        self._used = add_usage(self._used, reply.usage)
        return reply

    def _checked(self, text: str) -> str:
        schema = self._question.request.response_schema
        return text if schema is None else fitting_json(text, schema)

    def _failed(self, misfit: MisfitError, reply: ModelReply, calls: int) -> ModelError:
        ending = ", and the cap on output tokens was reached" if reply.finish_reason == "length" else ""
        message = f"the answer to call {calls} does not fit the response schema: {misfit}{ending}"
        return ModelError(ModelErrorCode.INVALID_OUTPUT, message, retryable=False, usage=self._used)
