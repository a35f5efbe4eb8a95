"""The gateway over HTTP: the one place that knows its addresses and its errors."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx2
from pydantic import ValidationError

from shared.contracts.errors import InvalidInputError, Problem, UnavailableError, WeftError, unavailable
from shared.contracts.events import EVENTS, LiveEvent, NodeProgress, read_live_event
from shared.contracts.graph import WorkflowGraph
from shared.contracts.queries import CostsBy, CostsReply, RunsReply, RunView, WhyReply
from shared.contracts.values import AssetRef

SNAPSHOT = "run.snapshot"
ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 45.0  # three missed heartbeats: the line is dead
_KINDS = frozenset(message.kind_name() for message in (*EVENTS, NodeProgress))


class Gateway:
    """A client of one gateway; use it with `async with`.

    Every method raises InvalidInputError or UnavailableError with the gateway's own problems, and UnavailableError
    `gateway_unreachable` where no gateway answers.
    """

    def __init__(self, url: str, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._http = httpx2.AsyncClient(base_url=url, timeout=ANSWER_SECONDS, transport=transport)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def upload(self, picture: bytes, media_type: str) -> AssetRef:
        """Keep a picture, and return the reference to it."""
        answer = await self._send("POST", "/api/uploads", content=picture, headers={"Content-Type": media_type})
        return AssetRef.model_validate(answer["asset"])

    async def save_workflow(self, workflow_id: UUID, name: str, graph: WorkflowGraph) -> None:
        """Keep a workflow under that id; the same graph again changes nothing."""
        draft = {"id": str(workflow_id), "name": name, "graph": graph.model_dump(mode="json", exclude_none=True)}
        await self._send("POST", "/api/workflows", json=draft)

    async def execute(self, workflow_id: UUID, wishes: Mapping[str, Any]) -> RunView:
        """Start a run, and return it as it was accepted; repeated with the same ids, it starts nothing new."""
        return await self._start(f"/api/workflows/{workflow_id}/execute", wishes)

    async def resume(self, run_id: UUID, wishes: Mapping[str, Any]) -> RunView:
        """Take up a run that has ended in a new one, and return that as it was accepted."""
        return await self._start(f"/api/workflows/runs/{run_id}/resume", wishes)

    async def replay(self, run_id: UUID, wishes: Mapping[str, Any]) -> RunView:
        """Do the same again as a run did in a new one, and return that as it was accepted."""
        return await self._start(f"/api/workflows/runs/{run_id}/replay", wishes)

    async def cancel(self, run_id: UUID, reason: str | None) -> RunView:
        """Ask for a run's end, and return it as it was before."""
        path = f"/api/workflows/runs/{run_id}/cancel"
        return RunView.model_validate(await self._send("POST", path, json={"reason": reason}))

    async def why(self, run_id: UUID, node_id: str | None) -> WhyReply:
        """Return what a run, or one node of it, is waiting for."""
        asked = {} if node_id is None else {"node": node_id}
        return WhyReply.model_validate(await self._send("GET", f"/api/workflows/runs/{run_id}/why", params=asked))

    async def run(self, run_id: UUID) -> RunView:
        """Return a run with its nodes."""
        return RunView.model_validate(await self._send("GET", f"/api/workflows/runs/{run_id}"))

    async def runs(self, workflow_id: UUID | None, limit: int) -> tuple[RunView, ...]:
        """Return the newest runs without their nodes, of one workflow or of all."""
        scope = f"/{workflow_id}" if workflow_id else ""
        answer = await self._send("GET", f"/api/workflows{scope}/runs", params={"limit": limit})
        return RunsReply.model_validate(answer).runs

    async def costs(self, by: CostsBy, since: datetime | None) -> CostsReply:
        """Return what model calls have cost, those begun since a time, or all."""
        asked = {"by": by.value, **({"since": since.isoformat()} if since else {})}
        return CostsReply.model_validate(await self._send("GET", "/api/costs", params=asked))

    async def events(self, run_id: UUID) -> AsyncIterator[RunView | LiveEvent]:
        """Yield what the gateway tells of a run: a snapshot first, then what happens, until the stream ends."""
        timeout = httpx2.Timeout(ANSWER_SECONDS, read=SILENCE_SECONDS)
        try:
            async with self._http.sse(f"/api/workflows/runs/{run_id}/events", timeout=timeout) as source:
                await self._raise_for_status(source.response)
                async for event in source:
                    if event.event == SNAPSHOT:
                        yield RunView.model_validate_json(event.data)
                    elif event.event in _KINDS:
                        yield read_live_event(event.data)
        except httpx2.TransportError as err:
            raise self._unreachable(err) from err

    async def _start(self, path: str, wishes: Mapping[str, Any]) -> RunView:
        body = {name: wish for name, wish in wishes.items() if wish is not None}
        return RunView.model_validate(await self._send("POST", path, json=body))

    async def _send(self, method: str, path: str, **content: Any) -> Any:
        try:
            response = await self._http.request(method, path, **content)
            await self._raise_for_status(response)
            return response.json()
        except httpx2.TransportError as err:
            raise self._unreachable(err) from err
        except ValueError as err:
            raise self._no_gateway("its answer is not JSON") from err

    async def _raise_for_status(self, response: httpx2.Response) -> None:
        if response.is_success:
            return
        await response.aread()
        raise _error_of(response) or self._no_gateway(f"it answers with status {response.status_code}")

    def _unreachable(self, err: Exception) -> UnavailableError:
        return unavailable(
            "gateway_unreachable",
            f"no gateway answers at {self._url}: {err or type(err).__name__}",
            where="WEFT_GATEWAY_URL",
            fix="start it: weft dev; or correct WEFT_GATEWAY_URL",
        )

    def _no_gateway(self, reason: str) -> UnavailableError:
        return unavailable(
            "gateway_not_understood",
            f"what answers at {self._url} does not answer as a gateway does: {reason}",
            where="WEFT_GATEWAY_URL",
            fix="correct WEFT_GATEWAY_URL",
        )


def _error_of(response: httpx2.Response) -> WeftError | None:
    """Return the error that a problem document tells; None if the answer is none."""
    try:
        problems = tuple(Problem.model_validate(item) for item in response.json()["problems"])
    except (ValueError, LookupError, TypeError, ValidationError):
        return None
    if not problems:
        return None
    is_unavailable = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return UnavailableError(*problems) if is_unavailable else InvalidInputError(*problems)
