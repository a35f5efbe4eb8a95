"""Questions to the llm workers, which keep the ledger of model calls."""

from datetime import datetime

from shared.contracts.queries import CostsBy, CostsReply, FindCosts
from shared.messaging.requests import Requests
from shared.topology import COSTS_QUEUE

PATIENCE = 5.0  # seconds


class CostsClient:
    """Asks any llm worker; every question raises `no_answer` if none comes within `PATIENCE`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def find(self, by: CostsBy, since: datetime | None) -> CostsReply:
        """Return what model calls have cost."""
        query = FindCosts(by=by, since=since)
        return CostsReply.model_validate_json(await self._requests.ask(query, COSTS_QUEUE, patience=PATIENCE))
