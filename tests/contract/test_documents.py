"""The committed AsyncAPI and OpenAPI documents say what the code does."""

import pytest
from tests.contract.documents import DOCS, DOCUMENTS, NAMES, rendered

from shared.contracts.commands import COMMANDS, NodeExpire, NodeRetry, RunAdmit, RunExpire
from shared.contracts.events import EVENTS
from shared.topology import EXCHANGES, JOBS


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_document_is_that_of_the_code(name):
    committed = (DOCS / name).read_text()
    assert rendered(name) == committed, f"docs/{name} differs from the code; if that is meant: scripts/documents"


def test_the_asyncapi_document_lists_every_message():
    schemas = DOCUMENTS["asyncapi.json"]()["components"]["schemas"]
    private = {NodeRetry, NodeExpire, RunAdmit, RunExpire}  # the orchestrator's words to itself
    assert {message.__name__ for message in (*COMMANDS, *EVENTS) if message not in private} <= schemas.keys()


def test_the_asyncapi_document_names_every_exchange_that_messages_are_published_to():
    text = rendered("asyncapi.json")
    assert all(exchange in text for exchange in EXCHANGES if exchange != "weft.dead")
    assert f"{JOBS}.crop_image" in text


def test_the_openapi_document_lists_every_route_of_the_api():
    routes = {(method.upper(), path) for path, item in DOCUMENTS["openapi.json"]()["paths"].items() for method in item}
    assert {
        ("POST", "/api/uploads"),
        ("POST", "/api/workflows"),
        ("GET", "/api/workflows"),
        ("POST", "/api/workflows/{workflowId}/execute"),
        ("GET", "/api/workflows/{workflowId}/runs"),
        ("GET", "/api/workflows/runs/{runId}"),
        ("GET", "/api/workflows/runs/{runId}/events"),
        ("GET", "/api/node-types"),
    } <= routes
