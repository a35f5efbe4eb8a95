"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx2

from shared.client import calls
from shared.client.answers import ANSWER_SECONDS, SILENCE_SECONDS, headers, raise_for_status, read_answer, unreachable
from shared.client.calls import Call, Graph, T
from shared.client.following import PATIENCE_SECONDS, Attempts, Position, Update, WorkflowUpdate
from shared.client.requests import (
    BatchReply,
    BatchRequest,
    ExecuteRequest,
    NodeTypeList,
    PictureList,
    ResumeRequest,
    Timeline,
    Validation,
    Workflow,
    WorkflowPage,
)
from shared.contracts.dead_letters import DeadLetter, DeadLetterPage, LettersReply
from shared.contracts.errors import InvalidInputError, UnavailableError
from shared.contracts.events import RunRejected
from shared.contracts.history import StatisticsReply
from shared.contracts.queries import CostsBy, CostsReply, RunPage, RunView, WhyReply
from shared.contracts.queues import QueueDetails, QueuesView
from shared.contracts.states import FINAL_RUN_STATUSES
from shared.contracts.values import AssetRef


class AsyncClient:
    """A client of one gateway, or of several behind one address; use it with `async with`.

    What the methods that send one request do and raise is said in `shared.client.calls`.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._http = httpx2.AsyncClient(
            base_url=url, timeout=ANSWER_SECONDS, transport=transport, headers=headers(api_key)
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def upload(self, picture: bytes, media_type: str) -> AssetRef:
        """Keep a picture, and return the reference to it."""
        return await self.send(calls.upload(picture, media_type))

    async def save_workflow(
        self, graph: Graph, *, workflow_id: UUID | None = None, name: str | None = None
    ) -> Workflow:
        """Keep a workflow."""
        return await self.send(calls.save_workflow(graph, workflow_id=workflow_id, name=name))

    async def update_workflow(
        self, workflow_id: UUID, graph: Graph, *, name: str | None = None, version: int | None = None
    ) -> Workflow:
        """Keep a new version of a workflow."""
        return await self.send(calls.update_workflow(workflow_id, graph, name=name, version=version))

    async def get_workflow(self, workflow_id: UUID, version: int | None = None) -> Workflow:
        """Return a workflow with its graph."""
        return await self.send(calls.get_workflow(workflow_id, version))

    async def export_workflow(self, workflow_id: UUID) -> dict[str, Any]:
        """Return a workflow as a file holds it."""
        return await self.send(calls.export_workflow(workflow_id))

    async def import_workflow(self, file: Mapping[str, Any]) -> Workflow:
        """Keep what a file holds as a new workflow."""
        return await self.send(calls.import_workflow(file))

    async def list_workflows(self, limit: int = 50, cursor: str | None = None) -> WorkflowPage:
        """Return a page of workflows."""
        return await self.send(calls.list_workflows(limit, cursor))

    async def delete_workflow(self, workflow_id: UUID) -> None:
        """Let a workflow be found no more."""
        await self.send(calls.delete_workflow(workflow_id))

    async def validate_workflow(self, graph: Graph) -> Validation:
        """Return what is wrong with a graph."""
        return await self.send(calls.validate_workflow(graph))

    async def node_types(self) -> NodeTypeList:
        """Return all node types."""
        return await self.send(calls.node_types())

    async def execute(
        self, workflow_id: UUID, request: ExecuteRequest | None = None, *, wait: float | None = None
    ) -> RunView:
        """Start a run."""
        return await self.send(calls.execute(workflow_id, request or ExecuteRequest(), wait))

    async def execute_batch(self, workflow_id: UUID, request: BatchRequest, *, key: str | None = None) -> BatchReply:
        """Start many runs."""
        return await self.send(calls.execute_batch(workflow_id, request, key))

    async def resume(self, run_id: UUID, request: ResumeRequest | None = None) -> RunView:
        """Take up a run that has ended in a new one."""
        return await self.send(calls.resume(run_id, request or ResumeRequest()))

    async def replay(self, run_id: UUID, *, trigger_run_id: str | None = None) -> RunView:
        """Do the same again in a new run."""
        return await self.send(calls.replay(run_id, trigger_run_id))

    async def cancel(self, run_id: UUID, reason: str | None = None) -> RunView:
        """Ask for a run's end."""
        return await self.send(calls.cancel(run_id, reason))

    async def why(self, run_id: UUID, node_id: str | None = None) -> WhyReply:
        """Return what a run, or one node of it, is waiting for."""
        return await self.send(calls.why(run_id, node_id))

    async def run(self, run_id: UUID) -> RunView:
        """Return a run with its nodes."""
        return await self.send(calls.get_run(run_id))

    async def runs(self, workflow_id: UUID | None = None, query: Mapping[str, Any] | None = None) -> RunPage:
        """Return a page of runs without their nodes, newest first."""
        return await self.send(calls.list_runs(workflow_id, query))

    async def find_run(self, trigger_run_id: str) -> RunView:
        """Return the run that its caller gave this name."""
        return await self.send(calls.find_run(trigger_run_id))

    async def timeline(self, run_id: UUID) -> Timeline:
        """Return what the nodes of a run did when."""
        return await self.send(calls.timeline(run_id))

    async def pictures(self, run_id: UUID) -> PictureList:
        """Return the pictures of a run, with links to them."""
        return await self.send(calls.pictures(run_id))

    async def statistics(
        self, workflow_id: UUID, *, since: datetime | None = None, until: datetime | None = None
    ) -> StatisticsReply:
        """Return how the runs of a workflow went."""
        return await self.send(calls.statistics(workflow_id, since, until))

    async def costs(self, by: CostsBy = CostsBy.DAY, since: datetime | None = None) -> CostsReply:
        """Return what model calls have cost."""
        return await self.send(calls.costs(by, since))

    async def queues(self) -> QueuesView:
        """Return how full all queues are."""
        return await self.send(calls.queues())

    async def queue(self, name: str) -> QueueDetails:
        """Return how full a queue is."""
        return await self.send(calls.queue(name))

    async def dead_letters(self, query: Mapping[str, Any] | None = None) -> DeadLetterPage:
        """Return a page of dead letters."""
        return await self.send(calls.list_dead_letters(query))

    async def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return a dead letter with its body."""
        return await self.send(calls.get_dead_letter(letter_id))

    async def replay_dead_letters(self, selection: Mapping[str, Any]) -> LettersReply:
        """Replay the first of the selected dead letters."""
        return await self.send(calls.treat_dead_letters("replay", selection))

    async def drop_dead_letters(self, selection: Mapping[str, Any]) -> LettersReply:
        """Throw the first of the selected dead letters away."""
        return await self.send(calls.treat_dead_letters("drop", selection))

    async def create_key(self, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Make an API key."""
        return await self.send(calls.create_key(wishes))

    async def list_keys(self, limit: int = 50) -> dict[str, Any]:
        """Return the newest API keys."""
        return await self.send(calls.list_keys(limit))

    async def revoke_key(self, key_id: UUID) -> dict[str, Any]:
        """End an API key."""
        return await self.send(calls.revoke_key(key_id))

    async def follow(self, run_id: UUID, *, patience: float = PATIENCE_SECONDS) -> AsyncGenerator[Update]:
        """Yield what is told of a run until its end: a snapshot first, then each event once, through broken lines.

        A later snapshot replaces all that was told before it. Raises UnavailableError `not_followed` if nothing is
        learnt for `patience` seconds after the line broke, InvalidInputError `run_not_found`.
        """
        position = Position()
        async with aclosing(
            self._follow(calls.run_events(run_id), position, position.run_update, f"run {run_id}", patience)
        ) as updates:
            async for update in updates:
                yield update

    async def follow_workflow(
        self, workflow_id: UUID, *, patience: float = PATIENCE_SECONDS
    ) -> AsyncGenerator[WorkflowUpdate]:
        """Yield what is told of all runs of a workflow, without an end; else as `follow` does."""
        position, path = Position(), calls.workflow_events(workflow_id)
        what = f"workflow {workflow_id}"
        async with aclosing(self._follow(path, position, position.workflow_update, what, patience)) as updates:
            async for update in updates:
                yield update

    async def wait(self, run_id: UUID, *, timeout: float | None = None) -> RunView:  # noqa: ASYNC109 - for people
        """Return a run with its nodes once it has ended; raise TimeoutError after `timeout` seconds, and as `follow`.

        Raises InvalidInputError with the reason if there will be no such run, because its name belongs to another one.
        """
        async with asyncio.timeout(timeout):
            async with aclosing(self.follow(run_id)) as updates:
                async for update in updates:
                    raise_refusal(update)
            return await self.recorded(run_id)

    async def recorded(self, run_id: UUID, *, patience: float = PATIENCE_SECONDS) -> RunView:
        """Return a run that has ended as it is recorded: the run tracker may learn of the end a moment later.

        Raises UnavailableError `not_followed` if it does not within `patience` seconds.
        """
        attempts = Attempts(f"run {run_id}", patience)
        while True:
            error = None
            try:
                view = await self.run(run_id)
                if view.status in FINAL_RUN_STATUSES:
                    return view
            except UnavailableError as err:
                error = err
            await asyncio.sleep(attempts.next_pause(error))

    async def send(self, call: Call[T]) -> T:
        """Send a request, and return what its answer holds."""
        timeout = httpx2.Timeout(ANSWER_SECONDS, read=ANSWER_SECONDS + call.more_seconds)
        try:
            response = await self._http.request(call.method, call.path, timeout=timeout, **call.content)
        except httpx2.TransportError as err:
            raise unreachable(self._url, err) from err
        return read_answer(call, response, self._url)

    async def _follow(
        self, path: str, position: Position, read: Callable[[Any], T | None], what: str, patience: float
    ) -> AsyncGenerator[T]:
        attempts, last = Attempts(what, patience), None
        while not position.has_ended:
            error = None
            try:
                async for update in self._told(path, position, read, attempts):
                    if update != last:  # the same snapshot again, of a line that breaks behind it, is no news
                        attempts.succeeded()
                    last = update
                    yield update
            except UnavailableError as err:
                error = err
            if not position.has_ended:
                await asyncio.sleep(attempts.next_pause(error))

    async def _told(
        self, path: str, position: Position, read: Callable[[Any], T | None], attempts: Attempts
    ) -> AsyncGenerator[T]:
        """Yield what one stream of events tells, from the position on."""
        timeout = httpx2.Timeout(ANSWER_SECONDS, read=SILENCE_SECONDS)
        try:
            async with self._http.sse(path, timeout=timeout, headers=position.headers) as source:
                if source.response.status_code == HTTPStatus.NO_CONTENT:
                    position.has_ended = True
                    return
                if not source.response.is_success:
                    await source.response.aread()
                    raise_for_status(source.response, self._url)
                attempts.opened()
                async for sent in source:
                    if (update := read(sent)) is not None:
                        yield update
        except httpx2.TransportError as err:
            if isinstance(err, httpx2.ReadTimeout):
                attempts.fell_silent(SILENCE_SECONDS)
            raise unreachable(self._url, err) from err


def raise_refusal(update: Update) -> None:
    """Raise InvalidInputError if the update says that the run will never be."""
    if isinstance(update, RunRejected) and update.existing_run_id != update.run_id:
        raise InvalidInputError(update.problem)
