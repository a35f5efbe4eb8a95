"""What runs are waiting for: the orchestrator's word, and the run tracker's where the orchestrator has forgotten."""

from uuid import UUID

from gateway.domain.callers import NOBODY, Caller
from gateway.orchestrator_client import OrchestratorClient
from gateway.runs import Runs
from shared.contracts.errors import InvalidInputError, invalid
from shared.contracts.queries import NodeExplanation, NodeView, Reason, RunView, WhyReply
from shared.contracts.states import FINAL_RUN_STATUSES
from shared.topology import COMMANDS_QUEUE


class Explanations:
    """Tells what a run, or a node of it, is waiting for."""

    def __init__(self, orchestrator: OrchestratorClient, runs: Runs, caller: Caller = NOBODY) -> None:
        self._orchestrator = orchestrator
        self._runs = runs
        self._caller = caller

    def seen_by(self, caller: Caller) -> "Explanations":
        """Return what explains the runs that a caller sees."""
        return Explanations(self._orchestrator, self._runs.seen_by(caller), caller)

    async def why(self, run_id: UUID, node_id: str | None) -> WhyReply:
        """Return the reasons; raise `run_not_found`, `node_not_found` or `no_answer`."""
        if self._caller.sees_only is not None:
            await self._runs.get(run_id)  # the orchestrator tells everybody
        reply = await self._orchestrator.explain(run_id, node_id)
        if not reply.known:
            return _from_history(await self._runs.get(run_id), node_id)
        if node_id is not None and not reply.nodes:
            raise _no_such_node(run_id, node_id)
        return reply


def _from_history(run: RunView, node_id: str | None) -> WhyReply:
    """Return what is known of a run that the orchestrator does not know: it has ended, or has not been taken in."""
    has_ended = run.status in FINAL_RUN_STATUSES
    if not run.nodes and not has_ended:
        message = "its start has not been taken in by the orchestrator"
        reason = Reason(code="start_pending", message=message, queue=COMMANDS_QUEUE)
        return WhyReply(status=run.status, reasons=(reason,))
    nodes = tuple(_explanation(node) for node in run.nodes or () if node.node_id == node_id)
    if node_id is not None and not nodes:
        raise _no_such_node(run.run_id, node_id)
    return WhyReply(known=has_ended, status=run.status, nodes=nodes)


def _explanation(node: NodeView) -> NodeExplanation:
    error = node.error
    reasons = (Reason(code=error.code, message=error.message, attempt=node.attempt, error=error),) if error else ()
    return NodeExplanation(node_id=node.node_id, status=node.status, reasons=reasons)


def _no_such_node(run_id: UUID, node_id: str) -> InvalidInputError:
    return invalid("node_not_found", f"the run {run_id} has no node {node_id!r}", where="node", node_id=node_id)
