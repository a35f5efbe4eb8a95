"""No secret gets into the logs, wherever it comes from."""

import json
import logging

import pytest
import structlog
from pydantic import SecretStr, ValidationError

from shared.contracts.commands import read_command
from shared.logs import add_ids_of_message, configure_logs
from shared.redaction import HIDDEN, Redaction, known_secrets
from shared.settings import Settings

CANARIES = {
    "password of the broker": "hush-broker/ä",
    "password of the database": "hush-database",
    "key": "hush-api-key-0123456789",
    "first of the url secrets": "hush-url-secret-one",
    "second of the url secrets": "hush-url-secret-two",
    "model": "hush-model-key",
    "provider": 'hush-"provider"-key',
}
SETTINGS = Settings(
    amqp_url="amqp://weft:hush-broker%2F%C3%A4@localhost/",
    database_url="postgresql://weft:hush-database@localhost/weft",
    api_key=SecretStr(CANARIES["key"]),
    url_secrets=SecretStr("hush-url-secret-one, hush-url-secret-two"),
    llm_api_key=SecretStr("hush-model-key"),
    llm_providers=SecretStr(json.dumps([{"name": "one", "apiKey": CANARIES["provider"]}])),
)


@pytest.fixture
def restored_logs():
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:], logging.root.level = handlers, level


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_every_secret_of_the_settings_is_known(canary):
    assert canary in known_secrets(SETTINGS)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_in_a_line_or_a_traceback(capfd, restored_logs, log_format):
    configure_logs("test", log_format=log_format, level="INFO", secrets=known_secrets(SETTINGS))
    log = structlog.get_logger("weft")
    for canary in CANARIES.values():
        log.info(canary, field=canary, nested={"deep": [canary]})
        logging.getLogger("library").warning("a library says %s", canary)
        log.error("failed", exc_info=ValueError(canary))
    log.info("a header: Authorization: Bearer abcdefgh12345678")
    log.info("an address", url=SETTINGS.amqp_url)
    written = capfd.readouterr().err
    assert written.count(HIDDEN) > 5 * len(CANARIES)
    assert "hush" not in written
    assert "abcdefgh" not in written


def test_short_passwords_hide_no_words():
    assert Redaction(["weft"])(None, "info", "weft dev") == "weft dev"


@pytest.mark.parametrize("body", ['{"kind": "hush"}', '{"kind": "run.start", "runId": "hush", "graph": "hush"}'])
def test_what_a_message_held_is_not_in_the_error_that_it_cannot_be_read(body):
    with pytest.raises(ValidationError) as raised:
        read_command(body.encode())
    assert "input_value" not in str(raised.value)


@pytest.mark.parametrize(
    ("message_id", "ids"),
    [
        ("r/run.start", {"run_id": "r"}),
        ("r/ask/2/node.failed", {"run_id": "r", "node_id": "ask"}),
        ("unreadable", {}),
        (None, {}),
    ],
)
def test_lines_about_a_message_name_its_run_and_node(message_id, ids):
    line = add_ids_of_message(None, "info", {"event": "x", "message_id": message_id})
    assert {name: line[name] for name in ("run_id", "node_id") if name in line} == ids
