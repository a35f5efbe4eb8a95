"""Answers to the question what model calls have cost."""

from faststream.rabbit import RabbitMessage, RabbitResponse
from pydantic import ValidationError
from structlog import get_logger

from llm_worker.costs import Costs
from shared.contracts.base import CONTENT_TYPE
from shared.contracts.queries import FindCosts

log = get_logger(__name__)


class CostsHandler:
    """Answers `costs.find`; a question that cannot be read is logged and not answered."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    async def handle(self, delivery: RabbitMessage) -> RabbitResponse | None:
        """Return the reply, as JSON."""
        try:
            query = FindCosts.model_validate_json(delivery.body)
        except ValidationError as err:
            log.warning("unreadable query", problems=err.error_count())
            return None
        reply = await self._costs.find(query.by, query.since)
        return RabbitResponse(reply.to_json(), content_type=CONTENT_TYPE)
