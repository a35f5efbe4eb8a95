"""What a shell is offered, by the protocol that the script of `weft --show-completion` speaks."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import httpx2
import pytest

from cli.commands import completion
from shared.contracts.queries import RunPage, RunView
from shared.contracts.states import RunStatus

RUNS = tuple(RunView(run_id=UUID(int=number << 124), status=RunStatus.RUNNING, workflow_name="x") for number in (1, 2))
WORKFLOW = {"id": str(UUID(int=9)), "version": 1, "name": "halves", "createdAt": "2026-01-01T00:00:00Z"}


@pytest.fixture
def gateway(monkeypatch):
    """Sets what a gateway does with a request."""
    connect = httpx2.AsyncClient

    def use(answer):
        monkeypatch.setattr(
            "httpx2.AsyncClient",
            lambda *, base_url, **_: connect(base_url=base_url, transport=httpx2.MockTransport(answer)),
        )

    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")
    return use


def test_the_newest_runs_and_workflows_are_offered(gateway):
    gateway(lambda _: httpx2.Response(200, content=RunPage(runs=RUNS).to_json()))
    assert completion.offer_runs("2") == [(str(RUNS[1].run_id), "running x")]
    assert len(completion.offer_runs("")) == 2
    gateway(lambda _: httpx2.Response(200, json={"workflows": [WORKFLOW]}))
    assert completion.offer_workflows("0") == [(WORKFLOW["id"], "halves")]


def test_a_gateway_that_is_away_slow_or_unknown_is_passed_over_in_silence(gateway, monkeypatch, tmp_path, capsys):
    async def hang(_):
        await asyncio.Event().wait()

    monkeypatch.setattr(completion, "PATIENCE_SECONDS", 0.01)
    for answer in (lambda _: httpx2.Response(503), hang):
        gateway(answer)
        assert completion.offer_runs("") == []
    monkeypatch.setenv("WEFT_GATEWAY_URL", "nonsense")
    assert completion.offer_runs("") == []
    monkeypatch.delenv("WEFT_GATEWAY_URL")
    monkeypatch.setenv("WEFT_HOME", str(tmp_path))
    assert completion.offer_workflows("") == []
    assert capsys.readouterr() == ("", "")


def complete(words, place, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    asked = {"_WEFT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    weft = Path(sys.executable).with_name("weft")
    done = subprocess.run([weft], env={**env, **asked}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash_is_offered_commands_options_and_values(tmp_path):
    assert complete("weft runs ti", 2, tmp_path) == ["timeline"]
    assert complete("weft do", 1, tmp_path) == ["doctor"]
    assert "--workflow" in complete("weft runs tail --w", 3, tmp_path)
    assert complete("weft runs events 0 -o j", 5, tmp_path) == ["json", "jsonl"]
    assert complete("weft runs get ", 3, tmp_path) == []


def test_a_script_for_bash_can_be_had():
    weft = Path(sys.executable).with_name("weft")
    done = subprocess.run([weft, "--show-completion", "bash"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "_WEFT_COMPLETE" in done.stdout
