"""Questions to the orchestrator."""

from uuid import UUID

from shared.contracts.queries import Explain, WhyReply
from shared.messaging.requests import Requests
from shared.topology import WHY_QUEUE

PATIENCE = 5.0  # seconds


class OrchestratorClient:
    """Asks the orchestrator; every question raises `no_answer` if none comes within `PATIENCE`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def explain(self, run_id: UUID, node_id: str | None) -> WhyReply:
        """Return what a run, or one node of it, is waiting for."""
        query = Explain(run_id=run_id, node_id=node_id)
        return WhyReply.model_validate_json(await self._requests.ask(query, WHY_QUEUE, patience=PATIENCE))
