"""The local stack makes its secrets by itself, once, and keeps them for its owner."""

from pydantic import SecretStr

from cli.local_secrets import with_local_secrets
from shared.settings import API_KEY_FILE, URL_SECRETS_FILE, Settings, strong_secret


def test_secrets_are_made_once_and_can_be_read_by_their_owner_only(tmp_path):
    first = with_local_secrets(Settings(home=tmp_path))
    assert with_local_secrets(Settings(home=tmp_path)) == first
    assert first.api_key != first.url_secrets
    for secret, file in ((first.api_key, API_KEY_FILE), (first.url_secrets, URL_SECRETS_FILE)):
        assert secret
        assert (tmp_path / file).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / file).read_text() == strong_secret(secret, file)


def test_a_key_that_is_set_is_found_in_other_terminals(tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WEFT_{name.upper()}", raising=False)
    with_local_secrets(Settings(home=tmp_path))
    with_local_secrets(Settings(home=tmp_path, api_key=SecretStr("set")))
    monkeypatch.setenv("WEFT_HOME", str(tmp_path))
    assert Settings.load().api_key == SecretStr("set")
