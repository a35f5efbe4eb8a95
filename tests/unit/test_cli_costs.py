"""`weft costs`: what it asks of the gateway, and what it writes."""

import httpx2
import pytest

from cli.errors import ExitCode
from cli.main import run_command
from shared.contracts.queries import CostRow, CostsBy, CostsReply

REPLY = CostsReply(
    by=CostsBy.WORKFLOW,
    rows=(
        CostRow(key="flow", calls=1_200, input_tokens=5_000, cached_tokens=1_000, output_tokens=70, cost=1.5),
        CostRow(calls=3, failed=1, unknown=1, unpriced=2),
    ),
    total=CostRow(calls=1_203, cost=1.5),
)


@pytest.fixture
def asked(monkeypatch):
    """The parameters of each request that the gateway got."""
    requests, connect = [], httpx2.AsyncClient

    def answer(request):
        assert request.url.path == "/api/costs"
        requests.append(dict(request.url.params))
        return httpx2.Response(200, content=REPLY.to_json())

    def connect_to_fake(*, base_url, **_):
        return connect(base_url=base_url, transport=httpx2.MockTransport(answer))

    monkeypatch.setattr("httpx2.AsyncClient", connect_to_fake)
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")
    return requests


def test_costs_are_told_in_a_table_with_their_total(asked, capsys):
    assert run_command(["costs", "--by", "workflow", "--since", "2026-11-01"]) == ExitCode.OK
    assert asked == [{"by": "workflow", "since": "2026-11-01T00:00:00+00:00"}]
    header, first, second, total = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header[0] == "workflow"
    assert first == ["flow", "1,200", "0", "0", "5,000", "1,000", "70", "1.5000", "0"]
    assert second == ["(no", "saved", "workflow)", "3", "1", "1", "0", "0", "0", "0.0000", "2"]
    assert total[:2] == ["total", "1,203"]


def test_costs_are_told_as_json_alone(asked, capsys):
    assert run_command(["costs", "-o", "json"]) == ExitCode.OK
    assert asked == [{"by": "day"}]
    assert CostsReply.model_validate_json(capsys.readouterr().out) == REPLY


def test_a_time_with_a_zone_is_asked_for_as_it_is(asked):
    run_command(["costs", "--since", "2026-11-01T12:00+01:00"])
    assert asked[0]["since"] == "2026-11-01T12:00:00+01:00"


def test_what_is_no_time_is_refused(asked, capsys):
    assert run_command(["costs", "--since", "yesterday"]) == ExitCode.USAGE
    assert "invalid_option" in capsys.readouterr().err
    assert asked == []
