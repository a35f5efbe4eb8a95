"""What the routes work with."""

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request

from gateway.acceptances import Acceptances
from gateway.api_keys import ApiKeys
from gateway.authentication import Gate, ensure_may
from gateway.batches import Batches
from gateway.costs_client import CostsClient
from gateway.dead_letters import DeadLetters
from gateway.domain.callers import Caller, KeyScope
from gateway.explanations import Explanations
from gateway.history import History
from gateway.links import Links
from gateway.live import LiveEvents
from gateway.pictures import Pictures
from gateway.plans import Plans
from gateway.queues import Queues
from gateway.runs import Runs
from gateway.starts import Starts
from gateway.uploads import Uploads
from gateway.workflows import Workflows


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything behind the HTTP API, connected."""

    gate: Gate
    keys: ApiKeys
    workflows: Workflows
    plans: Plans
    starts: Starts
    batches: Batches
    runs: Runs
    acceptances: Acceptances
    explanations: Explanations
    history: History
    live: LiveEvents
    uploads: Uploads
    pictures: Pictures
    links: Links
    costs: CostsClient
    queues: Queues
    dead_letters: DeadLetters

    def seen_by(self, caller: Caller) -> "Dependencies":
        """Return all of it as a caller sees it: of what belongs to others, nothing is there."""
        return replace(
            self,
            workflows=self.workflows.seen_by(caller),
            plans=self.plans.seen_by(caller),
            starts=self.starts.seen_by(caller),
            batches=self.batches.seen_by(caller),
            runs=self.runs.seen_by(caller),
            explanations=self.explanations.seen_by(caller),
            history=self.history.seen_by(caller),
            dead_letters=self.dead_letters.seen_by(caller),
        )


def get_caller(request: Request) -> Caller:
    """Return who asks."""
    return request.state.caller


def ensure_administers(request: Request) -> None:
    """Return if who asks may see what is everybody's; raise `scope_missing`."""
    ensure_may(get_caller(request), KeyScope.ADMIN)


def get_dependencies(request: Request) -> Dependencies:
    """Return what the application was created with, as whoever asks sees it."""
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies.seen_by(get_caller(request))


Asking = Annotated[Caller, Depends(get_caller)]
Connected = Annotated[Dependencies, Depends(get_dependencies)]
