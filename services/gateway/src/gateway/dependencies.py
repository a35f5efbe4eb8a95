"""What the routes work with."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gateway.costs_client import CostsClient
from gateway.explanations import Explanations
from gateway.live import LiveEvents
from gateway.plans import Plans
from gateway.runs import Runs
from gateway.starts import Starts
from gateway.uploads import Uploads
from gateway.workflows import Workflows


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything behind the HTTP API, connected."""

    workflows: Workflows
    plans: Plans
    starts: Starts
    runs: Runs
    explanations: Explanations
    live: LiveEvents
    uploads: Uploads
    costs: CostsClient


def get_dependencies(request: Request) -> Dependencies:
    """Return what the application was created with."""
    return request.app.state.dependencies


Connected = Annotated[Dependencies, Depends(get_dependencies)]
