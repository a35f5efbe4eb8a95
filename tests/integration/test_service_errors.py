"""A service that cannot start says why in one line, with what to do, and ends with the right exit code."""

import os
import secrets
import socket
import subprocess
import sys

import pytest

NOWHERE_AMQP = "amqp://nobody:secret@127.0.0.1:1/"
NOWHERE_DATABASE = "postgresql://nobody:secret@127.0.0.1:1/none"

LINKS = secrets.token_hex(32)  # what the gateway signs links with


def run_service(name, tmp_path, **settings):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    environment |= {"WEFT_HOME": str(tmp_path), "WEFT_STARTUP_TIMEOUT": "0.1", "WEFT_URL_SECRETS": LINKS}
    environment |= {f"WEFT_{key.upper()}": value for key, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", name], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def only_line(done):
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.parametrize("name", ["orchestrator", "run_tracker", "crop_worker", "llm_worker", "gateway"])
def test_without_settings_the_missing_variable_is_named(name, tmp_path):
    done = run_service(name, tmp_path)
    assert done.returncode == 2
    assert "setting_missing: WEFT_" in only_line(done)


@pytest.mark.parametrize("name", ["orchestrator", "run_tracker", "gateway"])
def test_no_database_at_the_address(name, tmp_path, stack):
    done = run_service(
        name,
        tmp_path,
        amqp_url=stack.amqp_url,
        database_url=NOWHERE_DATABASE,
        assets_url=stack.assets_url,
        url_secrets=stack.url_secrets.get_secret_value(),
    )
    assert done.returncode == 69
    line = only_line(done)
    assert "database_unreachable" in line
    assert "WEFT_DATABASE_URL" in line


@pytest.mark.parametrize("name", ["orchestrator", "run_tracker", "crop_worker", "llm_worker", "gateway"])
def test_no_broker_at_the_address(name, tmp_path, stack):
    done = run_service(
        name,
        tmp_path,
        amqp_url=NOWHERE_AMQP,
        database_url=stack.database_url,
        assets_url=stack.assets_url,
        llm_base_url="http://127.0.0.1:1/v1",
        url_secrets=stack.url_secrets.get_secret_value(),
    )
    assert done.returncode == 69
    line = only_line(done)
    assert "broker_unreachable" in line
    assert "WEFT_AMQP_URL" in line


def test_a_wrong_database_password_is_told_at_once(tmp_path, stack):
    address = stack.database_url.rsplit("@", 1)[1]
    done = run_service(
        "orchestrator",
        tmp_path,
        amqp_url=stack.amqp_url,
        database_url=f"postgresql://weft:secret@{address}",
        startup_timeout="60",
    )
    assert done.returncode == 69
    assert "database_refused" in only_line(done)


def test_a_taken_port_is_named(tmp_path, stack):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_service(
            "orchestrator",
            tmp_path,
            amqp_url=stack.amqp_url,
            database_url=stack.database_url,
            http_port=str(port),
        )
    assert done.returncode == 69
    line = only_line(done)
    assert "port_taken" in line
    assert str(port) in line


def test_an_invalid_setting_is_a_usage_error(tmp_path):
    done = run_service("orchestrator", tmp_path, http_port="high")
    assert done.returncode == 2
    assert "invalid_setting: WEFT_HTTP_PORT" in only_line(done)


@pytest.mark.parametrize("weak", ["weft", "changeme", 64 * "a", f"{LINKS},short"])
def test_a_gateway_does_not_start_with_a_secret_that_can_be_guessed(tmp_path, stack, weak):
    addresses = {name: getattr(stack, name) for name in ("amqp_url", "database_url", "assets_url")}
    done = run_service("gateway", tmp_path, **addresses, url_secrets=weak)
    assert done.returncode == 2
    assert "weak_secret: WEFT_URL_SECRETS" in done.stderr.splitlines()[-1]


def test_a_gateway_does_not_let_in_who_guesses(tmp_path, stack):
    addresses = {name: getattr(stack, name) for name in ("amqp_url", "database_url", "assets_url")}
    done = run_service("gateway", tmp_path, **addresses, api_key="changeme", startup_timeout="10")
    assert done.returncode == 2
    assert "weak_secret: WEFT_API_KEY" in done.stderr.splitlines()[-1]
