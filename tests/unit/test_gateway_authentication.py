"""Who gets in at the HTTP API: nobody without a key, and with one only as far as its scopes reach."""

import pytest
from tests.unit.gateway_app import bearer, client_of, new_dependencies, problem

from gateway.app import openapi_document
from shared.assets import AssetStore


@pytest.fixture
def dependencies(tmp_path):
    return new_dependencies(AssetStore.from_url(tmp_path.as_uri()))


@pytest.fixture
async def client(dependencies):
    async with client_of(dependencies, key=None) as client:
        yield client


ADMINISTRATORS = ("/api/keys", "/api/costs", "/api/queues", "/api/dead-letters")
GUARDED = [
    (method.upper(), path.replace("{", "").replace("}", ""))
    for path, methods in openapi_document()["paths"].items()
    for method in methods
    if path.startswith("/api/")
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("authorization", [None, "Bearer unknown", "Bearer ", "Basic YWRtaW46YWRtaW4=", "admin"])
async def test_nothing_is_done_without_a_key(client, dependencies, method, path, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await client.request(method, path, headers=headers)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_key_that_may_look_may_not_change(client, method, path):
    answer = await client.request(method, path, headers=bearer("read"))
    if method == "GET" and not path.startswith(ADMINISTRATORS):
        assert answer.status_code not in {401, 403}
    else:
        problem(answer, 403, "scope_missing")


@pytest.mark.parametrize(("method", "path"), [item for item in GUARDED if item[1].startswith(ADMINISTRATORS)])
async def test_keys_and_costs_are_for_those_who_administer(client, method, path):
    problem(await client.request(method, path, headers=bearer("run")), 403, "scope_missing")


async def test_an_unknown_path_is_not_told_to_strangers(client):
    problem(await client.get("/api/nowhere"), 401, "unauthenticated")


@pytest.mark.parametrize(
    "wish",
    [
        {"owner": "Upper"},
        {"owner": ""},
        {"name": ""},
        {"scopes": []},
        {"scopes": ["write"]},
        {"requestsPerMinute": 0},
        {"dailyBudget": -1},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"expiresAt": "2999-01-01T00:00:00"},
    ],
)
async def test_a_key_that_cannot_be_is_refused(client, dependencies, wish):
    answer = await client.post("/api/keys", json={"name": "ci", "owner": "shop", **wish}, headers=bearer("admin"))
    problem(answer, 422, "invalid_request")
    dependencies.keys.create.assert_not_called()
