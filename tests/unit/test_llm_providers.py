"""Who is asked for a model: providers as they are configured, their profiles, and names that nobody knows."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from llm_worker.configuration import read_directory
from llm_worker.domain.directory import Directory
from llm_worker.domain.profiles import PROFILES, Parameter
from llm_worker.domain.provider import Provider, is_loopback, printable_address
from shared.contracts.errors import InvalidInputError
from shared.settings import Settings

KEY = "sk-planted-canary"


def provider(name: str, *models: str, base_url: str = "http://127.0.0.1:9/v1", **fields: object) -> Provider:
    return Provider.model_validate({"name": name, "base_url": base_url, "models": models, **fields})


BOTH = Directory([provider("openai", "gpt-*", "o3"), provider("local", "llava*", "gpt-oss*", "openai/gpt-4o")])


@pytest.mark.parametrize(
    ("name", "chosen", "model"),
    [
        ("gpt-5", "openai", "gpt-5"),
        ("o3", "openai", "o3"),
        ("gpt-oss:20b", "local", "gpt-oss:20b"),  # the longer beginning wins
        ("llava:7b", "local", "llava:7b"),
        ("openai/gpt-4o", "openai", "gpt-4o"),  # a provider's name comes first
        ("local/openai/gpt-4o", "local", "openai/gpt-4o"),
    ],
)
def test_a_model_is_found_by_its_provider_or_by_its_name(name: str, chosen: str, model: str):
    found = BOTH.choose(name)
    assert (found.provider.name, found.model) == (chosen, model)


@pytest.mark.parametrize("name", ["claude", "o3-mini", "GPT-5", "", "gemini/gpt-5"])
def test_a_model_that_nobody_has_is_refused_and_the_known_ones_are_listed(name: str):
    with pytest.raises(InvalidInputError) as caught:
        BOTH.choose(name)
    assert caught.value.code == "unknown_model"
    assert "openai/gpt-*, openai/o3, local/llava*" in str(caught.value)


def test_a_model_that_the_named_provider_lacks_is_not_asked_of_another():
    with pytest.raises(InvalidInputError) as caught:
        BOTH.choose("openai/llava:7b")
    assert caught.value.code == "unknown_model"
    assert "local/" not in str(caught.value)


@pytest.mark.parametrize(
    "providers", [[], [provider("a", "x"), provider("a", "y")], [provider("a", "x*"), provider("b", "x*")]]
)
def test_providers_must_be_told_apart(providers: list[Provider]):
    with pytest.raises(InvalidInputError) as caught:
        Directory(providers)
    assert caught.value.code == "invalid_providers"


@pytest.mark.parametrize(
    ("base_url", "profile"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "gemini"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://notopenrouter.ai/api/v1", "generic"),
        ("http://127.0.0.1:11434/v1", "generic"),
    ],
)
def test_a_profile_is_recognised_by_its_host_unless_it_is_named(base_url: str, profile: str):
    assert provider("p", "*", base_url=base_url).traits.name == profile
    assert provider("p", "*", base_url=base_url, profile="vllm").traits.name == "vllm"


@pytest.mark.parametrize(
    ("profile", "model", "refused"),
    [
        ("openai", "gpt-4o", set[Parameter]()),
        ("openai", "o3-mini", {Parameter.TEMPERATURE, Parameter.STOP}),
        ("openai", "gpt-5-mini", {Parameter.TEMPERATURE, Parameter.STOP}),
        ("openai", "gpt-5-chat-latest", set[Parameter]()),
        ("openrouter", "openai/o3", {Parameter.TEMPERATURE, Parameter.STOP}),
        ("gemini", "gemini-3-flash", {Parameter.SEED}),
        ("deepseek", "deepseek-reasoner", {Parameter.TEMPERATURE, Parameter.SEED}),
        ("generic", "o3", set[Parameter]()),
    ],
)
def test_a_profile_knows_what_a_model_does_not_take(profile: str, model: str, refused: set[Parameter]):
    assert set(Parameter) - PROFILES[profile].parameters_of(model) == refused


def test_a_provider_can_have_limits_of_its_own_for_pictures():
    small = provider("p", "*", profile="openrouter", images={"side": 512})
    assert (small.image_budget.side, small.image_budget.count) == (512, PROFILES["openrouter"].images.count)


def read(**settings: object) -> Directory:
    return read_directory(Settings.model_validate(settings), {"OTHER_KEY": KEY})


def test_the_simple_settings_make_one_provider_that_takes_every_model():
    chosen = read(llm_base_url="http://127.0.0.1:9/v1", llm_api_key=KEY, llm_timeout=7, llm_concurrency=3).choose("any")
    asked = chosen.provider
    assert (asked.name, asked.timeout, asked.limits.concurrency) == ("default", 7, None)
    assert asked.api_key.get_secret_value() == KEY


def test_without_any_setting_the_missing_one_is_named():
    with pytest.raises(InvalidInputError, match="WEFT_LLM_BASE_URL") as caught:
        read()
    assert caught.value.code == "setting_missing"


ENTRIES = [
    {"name": "openai", "baseUrl": "https://api.openai.com/v1", "apiKeyVariable": "OTHER_KEY", "models": ["gpt-*"]},
    {
        "name": "house",
        "profile": "vllm",
        "baseUrl": "http://127.0.0.1:9/v1",
        "models": ["qwen*"],
        "timeout": 30,
        "limits": {"concurrency": 4, "requestsPerMinute": 60, "tokensPerMinute": 1000},
    },
]
TOML = f"""
[[providers]]
name = "openai"
base_url = "https://api.openai.com/v1"
api_key = "{KEY}"
models = ["gpt-*"]

[[providers]]
name = "house"
profile = "vllm"
base_url = "http://127.0.0.1:9/v1"
models = ["qwen*"]
timeout = 30
limits = {{ concurrency = 4, requests_per_minute = 60, tokens_per_minute = 1000 }}
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_several_providers_can_be_written_in_the_setting_or_in_a_file(tmp_path: Path):
    read_ones = [
        read(llm_providers=json.dumps(ENTRIES), llm_model="gpt-5"),
        read(llm_providers_file=written(tmp_path, "p.toml", TOML), llm_model="gpt-5"),
        read(llm_providers_file=written(tmp_path, "p.json", json.dumps({"providers": ENTRIES})), llm_model="gpt-5"),
        read(llm_providers_file=written(tmp_path, "q.json", json.dumps(ENTRIES)), llm_model="gpt-5"),
    ]
    expected = [
        provider("openai", "gpt-*", base_url="https://api.openai.com/v1", api_key=SecretStr(KEY)),
        provider(
            *("house", "qwen*"),
            profile="vllm",
            timeout=30,
            limits={"concurrency": 4, "requests_per_minute": 60, "tokens_per_minute": 1000},
        ),
    ]
    assert all(list(directory.providers.values()) == expected for directory in read_ones)


def test_beside_others_the_default_provider_takes_what_is_named_like_its_model():
    directory = read(llm_providers=json.dumps(ENTRIES), llm_base_url="http://127.0.0.1:9/v1", llm_model="offline")
    assert directory.choose("offline:slow=1").provider.name == "default"
    assert directory.choose("gpt-5").provider.name == "openai"
    with pytest.raises(InvalidInputError, match="known models: default/offline"):
        directory.choose("gbt-5")


def test_a_default_model_that_two_may_be_asked_for_must_say_which():
    both = {"llm_providers": json.dumps(ENTRIES), "llm_base_url": "http://127.0.0.1:9/v1"}
    with pytest.raises(InvalidInputError, match="write default/gpt-5 or openai/gpt-5") as caught:
        read(**both, llm_model="gpt-5")
    assert caught.value.code == "ambiguous_model"
    for name in ("openai", "default"):
        model = f"{name}/gpt-5"
        assert read(**both, llm_model=model).choose(model).provider.name == name


def test_a_default_model_that_no_provider_has_is_noticed_at_the_start():
    with pytest.raises(InvalidInputError) as caught:
        read(llm_providers=json.dumps(ENTRIES), llm_model="claude")
    assert caught.value.code == "unknown_model"


WRONG = [
    *("{", "7", "[]", "[7]", '{"providers": []}'),
    json.dumps([{**ENTRIES[0], "models": []}]),
    json.dumps([{**ENTRIES[0], "profile": "opanai"}]),
    json.dumps([{**ENTRIES[0], "baseUrl": "ftp://x"}]),
    json.dumps([{**ENTRIES[0], "apiKey": [KEY]}]),
    json.dumps([{**ENTRIES[0], "apiKeyVariable": "UNSET"}]),
    json.dumps([{**ENTRIES[0], "apiKey": KEY, "colour": "red"}]),
    json.dumps([{**ENTRIES[0], "limits": {"concurrency": 0}}]),
    json.dumps([ENTRIES[0], ENTRIES[0]]),
    f'[{{"apiKey": "{KEY}"',
]


@pytest.mark.parametrize("text", WRONG)
def test_wrong_providers_are_refused_without_showing_a_key(text: str):
    with pytest.raises(InvalidInputError) as caught:
        read(llm_providers=text, llm_model="gpt-5")
    assert caught.value.code in {"invalid_providers", "setting_missing"}
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value.__cause__)


@pytest.mark.parametrize(("name", "text"), [("p.toml", "{}"), ("p.json", "[[x]]"), ("p.toml", "name = 'x'")])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str):
    with pytest.raises(InvalidInputError) as caught:
        read(llm_providers_file=written(tmp_path, name, text))
    assert caught.value.code == "invalid_providers"
    with pytest.raises(InvalidInputError, match="cannot be read") as missing:
        read(llm_providers_file=tmp_path / "missing.json")
    assert missing.value.code == "invalid_providers"


def test_neither_a_provider_nor_its_errors_show_its_key():
    assert KEY not in repr(provider("p", "*", api_key=KEY, base_url=f"https://u:{KEY}@host/v1"))
    with pytest.raises(ValidationError) as caught:
        provider("p", "*", api_key=KEY, base_url=f"ftp://{KEY}")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "loopback"),
    [
        ("http://127.0.0.1:80/v1", True),
        ("http://127.8.9.1/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://localhost/v1", True),
        ("http://127.0.0.1.example.org/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(base_url: str, loopback: bool):
    assert is_loopback(base_url) is loopback


def test_a_printed_address_holds_no_credentials():
    assert printable_address("https://user:secret@host.example:8080/v1?key=secret") == "https://host.example:8080/v1"
