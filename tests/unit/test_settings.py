"""Settings: what is set wins, then what runs in the folder; a wrong one is named with what to do."""

import json
import secrets
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.contracts.errors import InvalidInputError
from shared.settings import API_KEY_FILE, SERVICES_FILE, STACK_FILE, URL_SECRETS_FILE, Settings, strong_secret


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WEFT_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_anything_the_home_is_in_this_folder_and_addresses_are_missing():
    settings = Settings.load()
    assert settings.home == Path(".weft")
    with pytest.raises(InvalidInputError) as raised:
        settings.require("amqp_url")
    assert raised.value.code == "setting_missing"
    assert "WEFT_AMQP_URL" in str(raised.value)
    assert "weft dev" in str(raised.value)


def test_addresses_come_from_the_stack_that_runs_unless_they_are_set(monkeypatch, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / STACK_FILE).write_text(
        json.dumps({"amqp_url": "amqp://stack", "database_url": "postgresql://stack", "pid": 1})
    )
    (home / SERVICES_FILE).write_text(json.dumps({"gateway_url": "http://127.0.0.1:1", "services": {}}))
    monkeypatch.setenv("WEFT_HOME", str(home))
    monkeypatch.setenv("WEFT_DATABASE_URL", "postgresql://mine")
    settings = Settings.load()
    assert settings.require("amqp_url") == "amqp://stack"
    assert settings.require("database_url") == "postgresql://mine"
    assert settings.require("gateway_url") == "http://127.0.0.1:1"


def test_the_management_api_of_the_stack_is_not_that_of_another_broker(monkeypatch, tmp_path):
    content = {"amqp_url": "amqp://stack", "management_url": "http://stack:15672"}
    (tmp_path / STACK_FILE).write_text(json.dumps(content))
    monkeypatch.setenv("WEFT_HOME", str(tmp_path))
    assert Settings.load().management_url == "http://stack:15672"
    monkeypatch.setenv("WEFT_AMQP_URL", "amqp://mine")
    assert Settings.load().management_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEFT_AMQP_URL", "http://localhost"),
        ("WEFT_DATABASE_URL", "mysql://localhost"),
        ("WEFT_AMQP_URL", "amqp://localhost:abc/"),
        ("WEFT_AMQP_URL", "amqp://localhost:99999/"),
        ("WEFT_AMQP_URL", "amqp://"),
        ("WEFT_DATABASE_URL", "postgresql://localhost:abc/x"),
        ("WEFT_DATABASE_URL", "postgresql://u:p@[bad/x"),
        ("WEFT_LLM_BASE_URL", "http://h:abc/v1"),
        ("WEFT_LLM_API_KEY", ""),
        ("WEFT_HTTP_PORT", "high"),
        ("WEFT_HTTP_PORT", "65536"),
        ("WEFT_LLM_TIMEOUT", "-1"),
        ("WEFT_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_value_is_named_and_not_repeated(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError) as raised:
        Settings.load()
    assert raised.value.code == "invalid_setting"
    assert name in str(raised.value)


def test_a_postgresql_socket_is_an_address(monkeypatch):
    monkeypatch.setenv("WEFT_DATABASE_URL", "postgresql:///weft?host=/run/postgresql")
    assert Settings.load().database_url == "postgresql:///weft?host=/run/postgresql"


def test_a_damaged_file_of_the_stack_is_named(monkeypatch, tmp_path):
    (tmp_path / STACK_FILE).write_text("{")
    monkeypatch.setenv("WEFT_HOME", str(tmp_path))
    with pytest.raises(InvalidInputError) as raised:
        Settings.load()
    assert raised.value.code == "stack_file_damaged"


def test_all_wrong_values_are_named_at_once(monkeypatch):
    monkeypatch.setenv("WEFT_AMQP_URL", "x")
    monkeypatch.setenv("WEFT_LLM_TIMEOUT", "y")
    with pytest.raises(InvalidInputError) as raised:
        Settings.load()
    assert {problem.where for problem in raised.value.problems} == {"WEFT_AMQP_URL", "WEFT_LLM_TIMEOUT"}


def test_the_key_of_the_model_is_never_shown(monkeypatch):
    monkeypatch.setenv("WEFT_LLM_API_KEY", "planted-canary")
    assert "planted-canary" not in repr(Settings.load())


def test_secrets_come_from_the_files_of_the_local_stack_unless_they_are_set(monkeypatch, tmp_path):
    (tmp_path / API_KEY_FILE).write_text("made\n")
    (tmp_path / URL_SECRETS_FILE).write_text("made, too\n")
    monkeypatch.setenv("WEFT_HOME", str(tmp_path))
    monkeypatch.setenv("WEFT_API_KEY", "mine")
    settings = Settings.load()
    assert settings.api_key == SecretStr("mine")
    assert settings.url_secrets == SecretStr("made, too")
    assert "mine" not in repr(settings)


@pytest.mark.parametrize("secret", ["", "weft", "changeme", "0123456789abcdef", 64 * "a", 20 * "weft"])
def test_a_secret_that_can_be_guessed_is_refused(secret):
    with pytest.raises(InvalidInputError, match="weak_secret: WEFT_API_KEY") as raised:
        strong_secret(SecretStr(secret), "WEFT_API_KEY")
    assert "openssl rand" in str(raised.value)


def test_a_secret_that_cannot_be_guessed_is_taken():
    secret = secrets.token_hex(32)
    assert strong_secret(SecretStr(secret), "WEFT_API_KEY") == secret
