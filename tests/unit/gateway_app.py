"""The HTTP API with nothing behind it but a place for pictures, for tests of what is refused and how errors look."""

from unittest.mock import create_autospec
from uuid import UUID

import httpx2

from gateway.acceptances import Acceptances
from gateway.api_keys import ApiKey, ApiKeys
from gateway.app import create_app
from gateway.authentication import Gate
from gateway.batches import Batches
from gateway.costs_client import CostsClient
from gateway.dead_letters import DeadLetters
from gateway.dependencies import Dependencies
from gateway.domain.callers import KeyScope
from gateway.explanations import Explanations
from gateway.history import History
from gateway.links import Links
from gateway.live import LiveEvents
from gateway.pictures import Pictures
from gateway.plans import Plans
from gateway.queues import Queues
from gateway.request_rates import RequestRates
from gateway.runs import Runs
from gateway.starts import Starts
from gateway.uploads import Uploads
from gateway.workflows import Workflows
from shared.decoding import DecoderPool

KEYS = {
    scope: ApiKey(name=scope, owner="somebody", scopes=frozenset({scope}), key_id=UUID(int=number))
    for number, scope in enumerate(KeyScope)
}


SECRETS = ("a secret for tests",)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def new_dependencies(assets, pool=None):
    pool = pool or create_autospec(DecoderPool, instance=True)
    keys = create_autospec(ApiKeys, instance=True)
    keys.find.side_effect = KEYS.get
    dependencies = Dependencies(
        gate=Gate(keys, create_autospec(RequestRates, instance=True)),
        keys=keys,
        workflows=create_autospec(Workflows, instance=True),
        plans=create_autospec(Plans, instance=True),
        starts=create_autospec(Starts, instance=True),
        batches=create_autospec(Batches, instance=True),
        runs=create_autospec(Runs, instance=True),
        acceptances=create_autospec(Acceptances, instance=True),
        explanations=create_autospec(Explanations, instance=True),
        history=create_autospec(History, instance=True),
        live=LiveEvents(),
        uploads=Uploads(assets, pool),
        pictures=Pictures(assets, pool),
        links=Links(SECRETS),
        costs=create_autospec(CostsClient, instance=True),
        queues=create_autospec(Queues, instance=True),
        dead_letters=create_autospec(DeadLetters, instance=True),
    )
    for name in ("workflows", "plans", "starts", "batches", "runs", "explanations", "history", "dead_letters"):
        part = getattr(dependencies, name)
        part.seen_by.return_value = part
    return dependencies


def client_of(dependencies, *, key: str | None = "admin"):
    transport = httpx2.ASGITransport(create_app(dependencies), raise_app_exceptions=False)
    headers = {} if key is None else bearer(key)
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


def problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["type"], document["status"], document["code"]) == ("about:blank", status, code)
    assert document["problems"][0]["code"] == code
    assert document["problems"][0]["message"] == document["detail"]
    return document
