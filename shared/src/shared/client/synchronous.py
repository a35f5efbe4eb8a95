"""The client that blocks: the one for asyncio, run in a thread of its own."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from anyio.from_thread import BlockingPortal, start_blocking_portal

from shared.client import calls
from shared.client.asynchronous import AsyncClient
from shared.client.calls import Call, Graph, T
from shared.client.following import PATIENCE_SECONDS, Update, WorkflowUpdate
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
from shared.contracts.history import StatisticsReply
from shared.contracts.queries import CostsBy, CostsReply, RunPage, RunView, WhyReply
from shared.contracts.queues import QueueDetails, QueuesView
from shared.contracts.values import AssetRef

U = TypeVar("U")


class Client(AbstractContextManager["Client"]):
    """A client of one gateway, or of several behind one address; use it with `with`. See `AsyncClient`."""

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        self._client = AsyncClient(url, api_key=api_key)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._portal: BlockingPortal = opening.enter_context(start_blocking_portal())
            opening.enter_context(self._portal.wrap_async_context_manager(self._client))
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def upload(self, picture: bytes, media_type: str) -> AssetRef:
        """Keep a picture, and return the reference to it."""
        return self._send(calls.upload(picture, media_type))

    def save_workflow(self, graph: Graph, *, workflow_id: UUID | None = None, name: str | None = None) -> Workflow:
        """Keep a workflow."""
        return self._send(calls.save_workflow(graph, workflow_id=workflow_id, name=name))

    def update_workflow(
        self, workflow_id: UUID, graph: Graph, *, name: str | None = None, version: int | None = None
    ) -> Workflow:
        """Keep a new version of a workflow."""
        return self._send(calls.update_workflow(workflow_id, graph, name=name, version=version))

    def get_workflow(self, workflow_id: UUID, version: int | None = None) -> Workflow:
        """Return a workflow with its graph."""
        return self._send(calls.get_workflow(workflow_id, version))

    def export_workflow(self, workflow_id: UUID) -> dict[str, Any]:
        """Return a workflow as a file holds it."""
        return self._send(calls.export_workflow(workflow_id))

    def import_workflow(self, file: Mapping[str, Any]) -> Workflow:
        """Keep what a file holds as a new workflow."""
        return self._send(calls.import_workflow(file))

    def list_workflows(self, limit: int = 50, cursor: str | None = None) -> WorkflowPage:
        """Return a page of workflows."""
        return self._send(calls.list_workflows(limit, cursor))

    def delete_workflow(self, workflow_id: UUID) -> None:
        """Let a workflow be found no more."""
        self._send(calls.delete_workflow(workflow_id))

    def validate_workflow(self, graph: Graph) -> Validation:
        """Return what is wrong with a graph."""
        return self._send(calls.validate_workflow(graph))

    def node_types(self) -> NodeTypeList:
        """Return all node types."""
        return self._send(calls.node_types())

    def execute(
        self, workflow_id: UUID, request: ExecuteRequest | None = None, *, wait: float | None = None
    ) -> RunView:
        """Start a run."""
        return self._send(calls.execute(workflow_id, request or ExecuteRequest(), wait))

    def execute_batch(self, workflow_id: UUID, request: BatchRequest, *, key: str | None = None) -> BatchReply:
        """Start many runs."""
        return self._send(calls.execute_batch(workflow_id, request, key))

    def resume(self, run_id: UUID, request: ResumeRequest | None = None) -> RunView:
        """Take up a run that has ended in a new one."""
        return self._send(calls.resume(run_id, request or ResumeRequest()))

    def replay(self, run_id: UUID, *, trigger_run_id: str | None = None) -> RunView:
        """Do the same again in a new run."""
        return self._send(calls.replay(run_id, trigger_run_id))

    def cancel(self, run_id: UUID, reason: str | None = None) -> RunView:
        """Ask for a run's end."""
        return self._send(calls.cancel(run_id, reason))

    def why(self, run_id: UUID, node_id: str | None = None) -> WhyReply:
        """Return what a run, or one node of it, is waiting for."""
        return self._send(calls.why(run_id, node_id))

    def run(self, run_id: UUID) -> RunView:
        """Return a run with its nodes."""
        return self._send(calls.get_run(run_id))

    def runs(self, workflow_id: UUID | None = None, query: Mapping[str, Any] | None = None) -> RunPage:
        """Return a page of runs without their nodes, newest first."""
        return self._send(calls.list_runs(workflow_id, query))

    def find_run(self, trigger_run_id: str) -> RunView:
        """Return the run that its caller gave this name."""
        return self._send(calls.find_run(trigger_run_id))

    def timeline(self, run_id: UUID) -> Timeline:
        """Return what the nodes of a run did when."""
        return self._send(calls.timeline(run_id))

    def pictures(self, run_id: UUID) -> PictureList:
        """Return the pictures of a run, with links to them."""
        return self._send(calls.pictures(run_id))

    def statistics(
        self, workflow_id: UUID, *, since: datetime | None = None, until: datetime | None = None
    ) -> StatisticsReply:
        """Return how the runs of a workflow went."""
        return self._send(calls.statistics(workflow_id, since, until))

    def costs(self, by: CostsBy = CostsBy.DAY, since: datetime | None = None) -> CostsReply:
        """Return what model calls have cost."""
        return self._send(calls.costs(by, since))

    def queues(self) -> QueuesView:
        """Return how full all queues are."""
        return self._send(calls.queues())

    def queue(self, name: str) -> QueueDetails:
        """Return how full a queue is."""
        return self._send(calls.queue(name))

    def dead_letters(self, query: Mapping[str, Any] | None = None) -> DeadLetterPage:
        """Return a page of dead letters."""
        return self._send(calls.list_dead_letters(query))

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return a dead letter with its body."""
        return self._send(calls.get_dead_letter(letter_id))

    def replay_dead_letters(self, selection: Mapping[str, Any]) -> LettersReply:
        """Replay the first of the selected dead letters."""
        return self._send(calls.treat_dead_letters("replay", selection))

    def drop_dead_letters(self, selection: Mapping[str, Any]) -> LettersReply:
        """Throw the first of the selected dead letters away."""
        return self._send(calls.treat_dead_letters("drop", selection))

    def create_key(self, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Make an API key."""
        return self._send(calls.create_key(wishes))

    def list_keys(self, limit: int = 50) -> dict[str, Any]:
        """Return the newest API keys."""
        return self._send(calls.list_keys(limit))

    def revoke_key(self, key_id: UUID) -> dict[str, Any]:
        """End an API key."""
        return self._send(calls.revoke_key(key_id))

    def follow(self, run_id: UUID, *, patience: float = PATIENCE_SECONDS) -> Generator[Update]:
        """Yield what is told of a run until its end, through broken lines."""
        return self._iterate(self._client.follow(run_id, patience=patience))

    def follow_workflow(self, workflow_id: UUID, *, patience: float = PATIENCE_SECONDS) -> Generator[WorkflowUpdate]:
        """Yield what is told of all runs of a workflow, without an end."""
        return self._iterate(self._client.follow_workflow(workflow_id, patience=patience))

    def wait(self, run_id: UUID, *, timeout: float | None = None) -> RunView:
        """Return a run with its nodes once it has ended; raise TimeoutError after `timeout` seconds."""

        async def wait() -> RunView:
            return await self._client.wait(run_id, timeout=timeout)

        return self._portal.call(wait)

    def _send(self, call: Call[T]) -> T:
        async def send() -> T:
            return await self._client.send(call)

        return self._portal.call(send)

    def _iterate(self, items: AsyncGenerator[U]) -> Generator[U]:
        async def next_one() -> U | None:
            return await anext(items, None)

        try:
            while (item := self._portal.call(next_one)) is not None:
                yield item
        finally:
            self._portal.call(items.aclose)
