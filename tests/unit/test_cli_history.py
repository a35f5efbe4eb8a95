"""`weft runs list` and `weft history prune`: how people say which runs, and how old."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
import pytest

from cli.errors import ExitCode
from cli.main import run_command
from cli.moments import read_age, read_moment
from shared.contracts.errors import InvalidInputError
from shared.contracts.queries import RunPage, RunView
from shared.contracts.states import RunStatus

RUN = RunView(run_id=UUID(int=7), status=RunStatus.FAILED, created_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def asked(monkeypatch):
    """The addresses that a gateway was asked for, which has one run, and more on a next page."""
    asked, connect = [], httpx2.AsyncClient

    def answer(request):
        asked.append(request.url)
        return httpx2.Response(200, content=RunPage(runs=(RUN,), next_cursor="abc").to_json())

    def connect_to_fake(*, base_url, **_):
        return connect(base_url=base_url, transport=httpx2.MockTransport(answer))

    monkeypatch.setattr("httpx2.AsyncClient", connect_to_fake)
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")
    return asked


def test_all_filters_reach_the_gateway(asked):
    flags = ["--status", "failed", "--status", "partial", "--tag", "shop", "--tag", "night", "--error", "slow & down"]
    flags += ["--min-cost", "0.5", "--max-cost", "2", "--since", "2026-01-01T00:00+00:00", "--cursor", "xyz"]
    assert run_command(["runs", "list", "--workflow", str(UUID(int=3)), "--limit", "5", *flags]) == ExitCode.OK
    (url,) = asked
    assert url.path == f"/api/workflows/{UUID(int=3)}/runs"
    assert sorted(url.params.multi_items()) == [
        ("cursor", "xyz"),
        ("error", "slow & down"),
        ("limit", "5"),
        ("maxCost", "2.0"),
        ("minCost", "0.5"),
        ("since", "2026-01-01T00:00:00+00:00"),
        ("status", "failed"),
        ("status", "partial"),
        ("tag", "night"),
        ("tag", "shop"),
    ]


def test_what_is_not_asked_for_is_not_sent(asked):
    assert run_command(["runs", "list"]) == ExitCode.OK
    assert (asked[0].path, asked[0].params.multi_items()) == ("/api/workflows/runs", [("limit", "50")])


def test_the_next_page_is_named(asked, capsys):
    assert run_command(["runs", "list"]) == ExitCode.OK
    assert "--cursor abc" in capsys.readouterr().out
    assert run_command(["runs", "list", "-o", "json"]) == ExitCode.OK
    assert RunPage.model_validate_json(capsys.readouterr().out) == RunPage(runs=(RUN,), next_cursor="abc")


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90d", timedelta(days=90)),
        ("12w", timedelta(weeks=12)),
        ("36h", timedelta(hours=36)),
        ("5m", timedelta(minutes=5)),
    ],
)
def test_an_age_is_read(text, age):
    assert read_age(text, "--since") == age
    assert abs(datetime.now(UTC) - read_moment(text, "--since") - age) < timedelta(minutes=1)


def test_a_date_is_read():
    assert read_moment("2026-01-31T12:00+02:00", "--since") == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert read_moment("2026-01-31", "--since") == datetime(2026, 1, 31).astimezone(UTC)


@pytest.mark.parametrize("text", ["", "d", "90", "90y", "-5d", "99999d", "yesterday", "2026-13-01"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidInputError, match="invalid_option"):
        read_moment(text, "--since")


@pytest.mark.parametrize("text", ["12h", "90", "0d"])
def test_history_is_dropped_by_days_at_least(text, capsys):
    assert run_command(["history", "prune", "--older-than", text, "-y"]) == ExitCode.USAGE
    assert "invalid_option" in capsys.readouterr().err


def test_dropping_history_asks_first(monkeypatch, capsys):
    monkeypatch.setenv("WEFT_AMQP_URL", "amqp://nobody@127.0.0.1:9/")
    assert run_command(["history", "prune", "--older-than", "90d"]) == ExitCode.USAGE
    assert "confirmation_needed" in capsys.readouterr().err
