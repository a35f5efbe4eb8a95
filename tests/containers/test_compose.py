"""The containers that docker-compose.yml makes, for real: built, started, used, stopped."""

import pytest
from tests.containers.compose_project import SERVICES, ComposeProject

pytestmark = pytest.mark.containers


def test_the_example_workflow_completes(project: ComposeProject):
    run = project.execute_example()

    answers = [node["output"]["text"] for node in run["nodes"] if node["nodeType"] == "llm"]
    assert run["status"] == "completed"
    assert len(answers) == 4
    assert all(answers)


def test_the_broker_is_rabbitmq_4(project: ComposeProject):
    assert project.compose("exec", "-T", "rabbitmq", "rabbitmqctl", "version").startswith("4.")


@pytest.mark.parametrize("service", SERVICES)
def test_services_run_without_rights(project: ComposeProject, service: str):
    assert project.python(service, "import os; print(os.getuid())") == "10001"
    assert "CapBnd:\t0000000000000000" in project.python(service, "print(open('/proc/self/status').read())")


@pytest.mark.parametrize("service", SERVICES)
def test_images_carry_no_build_tools(project: ComposeProject, service: str):
    found = project.python(service, "import shutil; print([t for t in ('uv', 'gcc', 'cc', 'make') if shutil.which(t)])")

    assert found == "[]"


def test_services_carry_only_their_own_dependencies(project: ComposeProject):
    names = ("asyncpg", "openai", "fastapi", "alembic")
    code = f"from importlib.util import find_spec; print(*(n for n in {names} if find_spec(n)))"
    carried = {service: project.python(service, code) for service in ("orchestrator", "llm_worker", "crop_worker")}

    assert carried == {"orchestrator": "asyncpg", "llm_worker": "asyncpg openai", "crop_worker": ""}


def test_only_the_gateway_is_published_and_only_on_loopback(project: ComposeProject):
    published = {
        (container["Service"], port["URL"])
        for container in project.containers()
        for port in container["Publishers"] or ()
        if port["PublishedPort"]
    }

    assert published == {("gateway", "127.0.0.1")}


def test_workers_scale(project: ComposeProject):
    project.start("--no-build", "--scale", "crop_worker=2")

    assert len([item for item in project.containers() if item["Service"] == "crop_worker"]) == 2
    assert project.execute_example()["status"] == "completed"


def test_a_restart_loses_nothing(project: ComposeProject):
    run_id = project.execute_example()["runId"]

    project.compose("stop")
    exit_codes = {item["Service"]: item["ExitCode"] for item in project.containers() if item["Service"] in SERVICES}
    assert exit_codes == dict.fromkeys(SERVICES, 0)

    project.start("--no-build")
    assert project.weft("runs", "get", run_id)["status"] == "completed"
    assert project.execute_example()["status"] == "completed"
