"""What `weft queues` and `weft dead` write as JSON keeps to the schemas of the published document."""

import json
from pathlib import Path

import httpx2
import jsonschema_rs
import pytest
from tests.unit.test_cli_dead import DONE, FAILED, JOB, PAGE
from tests.unit.test_cli_queues import DETAILS, VIEW

from cli.main import run_command
from shared.contracts.dead_letters import LettersReply

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
REPLY = LettersReply(results=(DONE, FAILED), left=0)
ANSWERS = {
    "/api/queues": VIEW,
    "/api/queues/jobs.llm": DETAILS,
    "/api/dead-letters": PAGE.model_copy(update={"next_cursor": None}),
    f"/api/dead-letters/{JOB.id}": JOB,
    "/api/dead-letters/replay": REPLY,
    "/api/dead-letters/drop": REPLY,
}
OUTPUTS = [
    (("queues", "list", "-o", "json"), "QueuesView"),
    (("queues", "show", "jobs.llm", "-o", "json"), "QueueDetails"),
    (("queues", "watch", "--times", "2", "--every", "0.2", "-o", "jsonl"), "QueuesView"),
    (("dead", "list", "-o", "json"), "DeadLetterPage"),
    (("dead", "show", JOB.id, "-o", "json"), "DeadLetter"),
    (("dead", "export"), "DeadLetter"),
    (("dead", "replay", "--all", "-y", "-o", "jsonl"), "LetterResult"),
    (("dead", "drop", "--all", "-y", "-o", "jsonl"), "LetterResult"),
]


@pytest.fixture(autouse=True)
def gateway(monkeypatch):
    connect = httpx2.AsyncClient

    def answer(request):
        return httpx2.Response(200, content=ANSWERS[request.url.path].to_json())

    def connect_to_fake(*, base_url, **_):
        return connect(base_url=base_url, transport=httpx2.MockTransport(answer))

    monkeypatch.setattr("httpx2.AsyncClient", connect_to_fake)
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")


@pytest.mark.parametrize(("arguments", "schema"), OUTPUTS)
def test_the_output_is_as_the_schema_says(capsys, arguments, schema):
    run_command(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines
    validator = jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{schema}", **DOCUMENT})
    for line in lines:
        validator.validate(json.loads(line))
        with pytest.raises(jsonschema_rs.ValidationError):
            validator.validate({"of": "another form"})
