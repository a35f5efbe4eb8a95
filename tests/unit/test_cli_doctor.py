"""`weft doctor`: what each check makes of what it is given, and how the report is written."""

import json
import os
from datetime import UTC, datetime, timedelta
from io import StringIO

import httpx2
import pytest
from pydantic import SecretStr
from rich.console import Console
from yarl import URL

from cli.doctor import broker, machine
from cli.doctor.clocks import compare_clocks, read_http_date
from cli.doctor.examination import examine
from cli.doctor.findings import Finding, Findings, Level, Report
from cli.doctor.gateway import check_gateway
from cli.doctor.model import check_model
from cli.doctor.report import write_report
from cli.doctor.settings import check_settings, usable_settings
from cli.errors import ExitCode
from cli.main import run_command
from shared.contracts.errors import unavailable
from shared.messaging.management import ManagedNode
from shared.settings import Settings

KEY = SecretStr("weft_abcdefghijklmnopqrstuvwxyz0123456789")
GATEWAY = Settings(gateway_url="http://gateway.test", api_key=KEY)
MISSING = {"problems": [{"code": "scope_missing", "message": "no"}]}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WEFT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def answers(monkeypatch):
    """What servers answer, by method and path; a missing one refuses the connection."""
    answers, connect = {}, httpx2.AsyncClient

    def answer(request):
        found = answers.get(f"{request.method} {request.url.path}")
        if found is None:
            raise httpx2.ConnectError("refused")
        return found

    monkeypatch.setattr(
        "httpx2.AsyncClient",
        lambda base_url="", **_: connect(base_url=base_url, transport=httpx2.MockTransport(answer)),
    )
    return answers


def told(findings, level):
    return [finding.message for finding in findings if finding.level is level]


async def test_settings_that_are_set_wrong_or_unknown_are_named(monkeypatch):
    monkeypatch.setenv("WEFT_LLM_MODEL", "m")
    monkeypatch.setenv("WEFT_LLM_MODLE", "m")
    monkeypatch.setenv("WEFT_GATEWAY_PORT", "1")
    monkeypatch.setenv("WEFT_LLM_TIMEOUT", "-1")
    findings = Findings("settings")
    settings = usable_settings(findings)
    assert settings.llm_timeout == 120
    assert "WEFT_LLM_TIMEOUT" in told(findings.made, Level.FAILURE)[0]
    made = await check_settings(settings)
    assert "WEFT_LLM_MODEL" in told(made, Level.OK)[0]
    (unknown,) = (finding for finding in made if finding.level is Level.WARNING)
    assert "WEFT_LLM_MODLE" in unknown.message
    assert unknown.fix == "write WEFT_LLM_MODEL"


async def test_secrets_that_can_be_guessed_are_told_without_being_shown():
    settings = Settings(
        api_key=SecretStr("changeme"),
        url_secrets=SecretStr(f"{KEY.get_secret_value()},short"),
        amqp_url="amqp://guest:guest@broker.test/",
        database_url="postgresql://weft:weft@127.0.0.1/weft",
    )
    made = await check_settings(settings)
    assert [message.split()[0] for message in told(made, Level.FAILURE)] == ["WEFT_API_KEY", "WEFT_URL_SECRETS"]
    assert told(made, Level.WARNING) == ["the password in WEFT_AMQP_URL can be guessed"]
    assert "changeme" not in "".join(finding.to_json().decode() for finding in made)


async def test_a_gateway_that_is_well_tells_the_scopes_of_the_key(answers):
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    answers |= {
        "GET /ready": httpx2.Response(200, json={"ready": True}, headers={"Date": now}),
        "GET /openapi.json": httpx2.Response(200, json={"info": {"version": "0.0.1"}}),
        "GET /api/node-types": httpx2.Response(200, json={"nodeTypes": []}),
        "POST /api/workflows/validate": httpx2.Response(200, json={"valid": False}),
        "GET /api/keys": httpx2.Response(403, json=MISSING),
    }
    made = await check_gateway(GATEWAY)
    assert told(made, Level.FAILURE) == []
    assert told(made, Level.OK)[-1] == "the API key is valid, with the scopes: read, run"
    assert "version 0.0.1" in told(made, Level.WARNING)[0]


async def test_a_gateway_that_is_not_ready_names_what_is_missing_and_a_wrong_key_is_told(answers):
    refused = {"problems": [{"code": "unauthenticated", "message": "the API key is unknown", "fix": "use another"}]}
    answers |= {
        "GET /ready": httpx2.Response(503, json={"ready": False, "failing": ["broker"]}),
        "GET /openapi.json": httpx2.Response(404, text="no"),
        "GET /api/node-types": httpx2.Response(401, json=refused),
    }
    made = await check_gateway(GATEWAY)
    assert told(made, Level.FAILURE) == [
        "the gateway at http://gateway.test is not ready: broker",
        "the API key is unknown",
    ]
    assert made[-1].fix == "use another"


async def test_a_gateway_that_is_away_or_unknown_and_a_missing_key(answers):
    assert "no gateway answers" in told(await check_gateway(GATEWAY), Level.FAILURE)[0]
    assert "WEFT_GATEWAY_URL" in told(await check_gateway(Settings()), Level.FAILURE)[0]
    answers |= {"GET /ready": httpx2.Response(200, json={"ready": True}), "GET /openapi.json": httpx2.Response(200)}
    made = await check_gateway(GATEWAY.model_copy(update={"api_key": None}))
    assert told(made, Level.FAILURE) == ["no API key is known here"]


@pytest.mark.parametrize(
    ("status", "level"), [(200, Level.OK), (404, Level.OK), (401, Level.FAILURE), (500, Level.WARNING)]
)
async def test_a_model_is_judged_by_its_answer(answers, status, level):
    answers["GET /v1/models"] = httpx2.Response(status)
    made = await check_model(Settings(llm_base_url="http://model.test/v1/"))
    assert [finding.level for finding in made] == [level]


async def test_a_model_that_is_away_or_not_configured(answers):
    made = await check_model(Settings(llm_base_url="http://model.test/v1"))
    assert "no model answers" in told(made, Level.FAILURE)[0]
    assert [finding.level for finding in await check_model(Settings())] == [Level.SKIPPED]


async def test_all_providers_are_looked_at(tmp_path, monkeypatch):
    keys = []
    monkeypatch.setenv("HOUSE_KEY", "from outside")

    def refuse(request):
        keys.append(request.headers.get("authorization"))
        return httpx2.Response(401)

    connect = httpx2.AsyncClient
    monkeypatch.setattr("httpx2.AsyncClient", lambda **_: connect(transport=httpx2.MockTransport(refuse)))
    path = tmp_path / "providers.toml"
    path.write_text('[[providers]]\nname = "house"\nbase_url = "http://h.test"\napi_key_variable = "HOUSE_KEY"\n')
    text = json.dumps([{"name": "other", "baseUrl": "http://o.test/v1", "apiKey": "secret", "models": ["*"]}])
    made = await check_model(Settings(llm_providers=SecretStr(text), llm_providers_file=path))
    assert keys == ["Bearer secret", "Bearer from outside"]
    assert [finding.fix for finding in made] == ["correct the key of other", "correct HOUSE_KEY"]


@pytest.mark.parametrize("text", ["nonsense", "[1]", '{"providers": [{"name": "x", "apiKey": "secret"}]}'])
async def test_providers_that_cannot_be_read_are_told_without_their_keys(text, tmp_path):
    made = list(await check_model(Settings(llm_providers=SecretStr(text))))
    made += await check_model(Settings(llm_providers_file=tmp_path / "absent.json"))
    assert [finding.level for finding in made] == [Level.FAILURE, Level.FAILURE]
    assert "secret" not in "".join(finding.to_json().decode() for finding in made)


async def test_servers_are_no_matter_to_who_only_uses_a_gateway():
    assert [finding.level for finding in await broker.check_broker(GATEWAY)] == [Level.SKIPPED]
    assert [finding.level for finding in await broker.check_broker(Settings())] == [Level.FAILURE]


def test_a_broker_that_is_too_old_or_takes_no_messages_is_told():
    findings = Findings("broker")
    for version in ("3.9.13", "3.10.8", "4.1.0", "unknown"):
        broker._look_at_version(version, findings)
    assert [finding.level for finding in findings.made] == ["failure", "ok", "ok", "ok"]
    broker._look_at_node(ManagedNode(name="a", disk_free_alarm=True, disk_free=1, disk_free_limit=2), findings)
    assert "disk_free alarm" in findings.made[-1].message
    broker._look_at_node(ManagedNode(name="a", disk_free=2**31, disk_free_limit=2**20), findings)
    assert findings.made[-1].level is Level.OK


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
async def test_alarms_and_the_clock_are_those_of_the_management_api(answers, scheme):
    nodes = [{"name": "a", "mem_alarm": True, "disk_free": 2**31, "disk_free_limit": 2**20}]
    date = {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    url, findings = URL(f"{scheme}://broker.test/"), Findings("broker")
    await broker._look_at_management(url, findings)
    assert f"//broker.test:{15_672 if scheme == 'amqp' else 15_671}" in told(findings.made, Level.SKIPPED)[0]
    answers["GET /api/nodes"] = httpx2.Response(200, json=nodes, headers=date)
    await broker._look_at_management(url, findings)
    assert "mem alarm" in told(findings.made, Level.FAILURE)[0]
    assert "the clock of the broker differs" in told(findings.made, Level.WARNING)[0]


@pytest.mark.parametrize(
    ("seconds", "coarse", "level"),
    [(0.5, False, "ok"), (-3.0, False, "warning"), (2.5, True, "ok"), (9, True, "warning")],
)
def test_clocks_are_compared(seconds, coarse, level):
    findings = Findings("clock")
    compare_clocks("it", datetime.now(UTC) + timedelta(seconds=seconds), findings, coarse=coarse)
    assert findings.made[0].level == level


def test_only_a_date_is_read_as_one():
    assert read_http_date("Thu, 01 Jan 2026 00:00:00 GMT") == datetime(2026, 1, 1, tzinfo=UTC)
    assert read_http_date("soon") is None
    assert read_http_date(None) is None


async def test_packages_are_compared_with_the_lock_file(tmp_path):
    (tmp_path / machine.LOCK).write_text(
        "rich==1.0 \\\n    --hash=sha256:00\nnot-installed==1 ; python_version < '3'\n"
    )
    made = await machine.check_versions(Settings())
    (warning,) = told(made, Level.WARNING)
    assert warning.startswith("rich ")
    assert warning.endswith("is installed, not 1.0")


async def test_a_disk_that_is_nearly_full_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "LOW_BYTES", 2**60)
    made = await machine.check_disk(Settings(home=tmp_path / "new", assets_url="s3://bucket"))
    assert [finding.level for finding in made] == [Level.SKIPPED, Level.WARNING]
    monkeypatch.setattr(machine, "LEAST_BYTES", 2**60)
    made = await machine.check_disk(Settings(home=tmp_path, assets_url=tmp_path.as_uri()))
    assert [finding.level for finding in made] == [Level.FAILURE, Level.FAILURE]


async def test_the_tools_of_the_local_stack_are_looked_for(monkeypatch):
    monkeypatch.setattr("shared.embedded.rabbitmq_install.find", lambda: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "neither RabbitMQ nor Docker" in told(await machine.check_tools(Settings()), Level.FAILURE)[0]
    configured = Settings(amqp_url="amqp://broker.test/", database_url="postgresql://database.test/x")
    assert [finding.level for finding in await machine.check_tools(configured)] == [Level.OK]
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/docker")
    assert "in a container" in told(await machine.check_tools(Settings()), Level.OK)[0]


async def test_a_check_that_breaks_or_hangs_is_a_finding(monkeypatch):
    async def breaks(_):
        raise ZeroDivisionError("nobody foresaw this")

    async def refuses(_):
        raise unavailable("away", "it is away")

    report = await examine({"one": breaks, "two": refuses})
    assert not report.ok
    assert [finding.check for finding in report.findings] == ["one", "two"]
    assert "ZeroDivisionError: nobody foresaw this" in report.findings[0].message


def test_where_nothing_runs_it_says_so_and_what_to_do(capsys):
    assert run_command(["doctor", "-o", "json"]) == ExitCode.CHECK_FAILED
    out, err = capsys.readouterr()
    report = Report.model_validate(json.loads(out))
    failures = {finding.check: finding.fix or "" for finding in report.findings if finding.level is Level.FAILURE}
    assert {"gateway", "broker", "database"} <= failures.keys()
    assert all("weft dev" in failures[name] for name in ("gateway", "broker", "database"))
    assert err == ""


@pytest.mark.parametrize("width", [80, 120])
def test_a_report_is_written_for_people(snapshot, width):
    findings = (
        Finding(check="settings", level=Level.OK, message="set: WEFT_GATEWAY_URL"),
        Finding(check="settings", level=Level.WARNING, message="WEFT_X is no setting of Weft", fix="remove it"),
        Finding(check="broker", level=Level.FAILURE, message=f"no RabbitMQ answers: {'[x] ' * 25}", fix="weft dev"),
        Finding(check="model", level=Level.SKIPPED, message="no model is configured"),
    )
    file = StringIO()
    write_report(Report(ok=False, findings=findings), Console(file=file, width=width, color_system=None))
    assert file.getvalue() == snapshot


def test_a_file_that_cannot_be_read_is_a_finding(monkeypatch):
    def fail():
        raise PermissionError(13, "Permission denied", ".weft/api_key")

    monkeypatch.setattr(Settings, "load", fail)
    findings = Findings("settings")
    assert usable_settings(findings).api_key is None
    assert told(findings.made, Level.FAILURE) == [".weft/api_key cannot be read: Permission denied"]
