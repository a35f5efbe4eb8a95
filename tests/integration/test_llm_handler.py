"""The llm worker's function over real HTTP: what is asked, what comes of each fault, and what it costs."""

import asyncio
import base64
import io
import json
from contextlib import asynccontextmanager

import httpx2
import pytest
from PIL import Image
from tests.integration.llm_jobs import Desk, EveryCall, offline, opened_decoders, opened_handler, text
from tests.integration.test_offline_model import running

from shared.assets import AssetStore
from shared.contracts.errors import InvalidInputError
from shared.contracts.values import ImageValue, TextValue
from shared.worker import Permanent, Retryable, Succeeded

SCHEMA = {
    "type": "object",
    "properties": {"brightness": {"type": "integer"}, "seen": {"type": "string"}},
    "required": ["brightness", "seen"],
    "additionalProperties": False,
}
KEY = "sk-planted-canary"


@pytest.fixture(scope="module")
async def base_url():
    async with running() as (_, base_url):
        yield base_url


@pytest.fixture
async def model(base_url):
    """The controls of the model server."""
    async with httpx2.AsyncClient(base_url=base_url.removesuffix("/v1"), timeout=30, trust_env=False) as client:
        yield client
        await client.delete("/control/behaviours")


@pytest.fixture(scope="module")
async def decoders():
    async with opened_decoders() as decoders:
        yield decoders


@pytest.fixture
def desk_for(tmp_path, decoders):
    @asynccontextmanager
    async def desk_for(*providers):
        calls = EveryCall()
        async with opened_handler(providers, decoders, calls) as handler:
            yield Desk(handler, AssetStore.from_url(tmp_path.as_uri()), calls)

    return desk_for


@pytest.fixture
async def desk(desk_for, base_url):
    async with desk_for(offline(base_url)) as desk:
        yield desk


async def made(model):
    return (await model.get("/control/calls")).json()["made"]


async def awaited(model, **numbers):
    response = await model.get("/control/calls", params={**numbers, "timeout": 20})
    assert response.json()["reached"], response.json()


def succeeded(outcome):
    assert isinstance(outcome, Succeeded), outcome
    return outcome


def answer_of(outcome):
    output = succeeded(outcome).output
    assert isinstance(output, TextValue)
    return output.text


def cost_of(outcome):
    assert outcome.usage
    return outcome.usage.cost


def picture(asset):
    return ("photo", ImageValue(asset=asset))


# What is asked


async def test_named_texts_are_filled_in_and_the_others_appended(desk):
    texts = [("left", text("A red car.")), ("note", text("It rains."))]
    params = {"userMessage": "Compare {{ left }}", "systemPrompt": "Think of: {{ left }}"}
    succeeded(await desk.do(params, texts=texts))
    request = desk.calls[0].request
    assert request.user_message == "Compare A red car.\n\nnote: It rains."
    assert request.system_prompt == "Think of: A red car."


async def test_a_connected_prompt_overrides_the_field_and_may_have_placeholders(desk):
    brought = [("prompt", text("Look at {{ left }} and {{ sky }}"))]
    outcome = succeeded(await desk.do({"userMessage": "no"}, user_message=brought, texts=[("left", text("this"))]))
    assert desk.calls[0].request.user_message == "Look at this and {{ sky }}"
    assert [warning.code for warning in outcome.warnings] == ["unknown_template_name"]


async def test_a_placeholder_that_names_nothing_fails_before_any_call(desk, model):
    before = await made(model)
    with pytest.raises(InvalidInputError, match="connected texts: left"):
        await desk.do({"userMessage": "{{ lefd }}"}, texts=[("left", text("x"))])
    assert await made(model) == before


async def test_a_call_tells_what_it_is_for(desk):
    job = desk.job({"userMessage": "Hi"})
    await desk._handler.execute(job)
    call = desk.calls[0]
    assert (call.run_id, call.node_id, call.attempt, call.number) == (job.run_id, "ask", 1, 1)
    assert (call.provider.name, call.request.model) == ("offline", "offline")


async def test_models_are_asked_where_they_are_known(desk_for, base_url, model):
    house = offline(base_url, name="house", models=["offline:cost*"])
    async with desk_for(offline(base_url), house) as desk:
        assert cost_of(await desk.do({"model": "offline:cost=0.5", "userMessage": "Hi"})) == 0.5
        succeeded(await desk.do({"model": "offline/offline", "userMessage": "Hi"}))
        assert [(call.provider.name, call.request.model) for call in desk.calls] == [
            ("house", "offline:cost=0.5"),
            ("offline", "offline"),
        ]
        before = await made(model)
        with pytest.raises(
            InvalidInputError, match="known models: offline/offline\\*, house/offline:cost\\*"
        ) as caught:
            await desk.do({"model": "gpt-5", "userMessage": "Hi"})
        assert (caught.value.code, await made(model)) == ("unknown_model", before)


async def test_a_param_that_the_model_does_not_take_is_left_out_and_told(desk_for, base_url):
    async with desk_for(offline(base_url, profile="gemini")) as desk:
        outcome = succeeded(await desk.do({"userMessage": "Hi", "seed": 1}))
    assert [(warning.code, warning.where) for warning in outcome.warnings] == [("llm_param_not_sent", "seed")]


# Pictures


async def test_pictures_are_sent_in_their_order_small_and_upright(desk):
    wide = Image.new("RGB", (3000, 1000), "red")
    turned = Image.new("RGB", (40, 20), "blue")
    exif = turned.getexif()
    exif[0x0112] = 6
    inputs = [picture(await desk.upload(wide, "JPEG")), picture(await desk.upload(turned, "JPEG", exif=exif.tobytes()))]
    answer = answer_of(await desk.do({"userMessage": "?"}, images=inputs))
    assert "Image 1: 1024 x 341 pixels" in answer
    assert "Image 2: 20 x 40 pixels" in answer
    assert answer.index("red") < answer.index("blue")


async def test_what_is_sent_is_a_jpeg_without_metadata_flattened_on_white(desk):
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    await desk.do({"userMessage": "?"}, images=[picture(await desk.upload(clear))])
    head, _, payload = desk.calls[0].request.images[0].partition(",")
    sent = Image.open(io.BytesIO(base64.b64decode(payload)))
    assert (head, sent.format, sent.getpixel((0, 0))) == ("data:image/jpeg;base64", "JPEG", (255, 255, 255))
    assert not sent.getexif()


async def test_a_picture_with_too_many_bytes_is_made_smaller(desk_for, base_url):
    noise = Image.effect_noise((800, 800), 200).convert("RGB")
    async with desk_for(offline(base_url, images={"image_bytes": 50_000})) as desk:
        succeeded(await desk.do({"userMessage": "?"}, images=[picture(await desk.upload(noise))]))
        assert len(desk.calls[0].request.images[0]) < 50_000 * 4 / 3 + 100


@pytest.mark.parametrize(
    ("images", "code"), [({"count": 1}, "too_many_images"), ({"request_bytes": 1_000}, "images_too_large")]
)
async def test_more_than_a_call_may_carry_is_refused_before_it(desk_for, base_url, model, images, code):
    before = await made(model)
    async with desk_for(offline(base_url, images=images)) as desk:
        asset = await desk.upload(Image.new("RGB", (300, 300), "red"))
        with pytest.raises(InvalidInputError) as caught:
            await desk.do({"userMessage": "?"}, images=[picture(asset), picture(asset)])
    assert (caught.value.code, await made(model)) == (code, before)


# Streaming


async def test_the_pieces_of_an_answer_are_told_as_they_come(desk):
    outcome = succeeded(await desk.do({"model": "offline:pace=50", "userMessage": "Say something. Twice."}))
    assert len(desk.told) >= 2
    whole = answer_of(outcome)
    for piece in desk.told:
        assert whole[piece.offset : piece.offset + len(piece.text)] == piece.text
    assert [piece.sequence for piece in desk.told] == list(range(1, len(desk.told) + 1))
    assert desk.told[0].offset == 0


@pytest.mark.parametrize("word", ["silence", "pace=60000", "stall"])
async def test_a_cancelled_job_hangs_up(desk, model, word):
    await awaited(model, open_at_most=0)
    job = asyncio.create_task(desk.do({"model": f"offline:{word}", "userMessage": "Go on and on."}))
    await awaited(model, open=1)
    job.cancel()
    await awaited(model, open_at_most=0)
    with pytest.raises(asyncio.CancelledError):
        await job


# Structured output


async def test_a_schema_is_answered_with_json_that_fits_it(desk):
    asset = await desk.upload(Image.new("RGB", (64, 64), "white"))
    outcome = await desk.do({"userMessage": "?", "responseSchema": SCHEMA}, images=[picture(asset)])
    answer = json.loads(answer_of(outcome))
    assert answer["brightness"] == 255
    assert "64 x 64 pixels" in answer["seen"]
    assert len(desk.calls) == 1


async def test_an_answer_that_does_not_fit_is_repaired_and_both_calls_are_paid_for(desk, model):
    await model.post("/control/behaviours", json=[{"kind": "misfit", "cost": 0.25}, {"kind": "answer", "cost": 0.5}])
    outcome = succeeded(await desk.do({"userMessage": "Hi", "responseSchema": SCHEMA}))
    assert set(json.loads(answer_of(outcome))) == {"brightness", "seen"}
    assert cost_of(outcome) == 0.75
    first, second = desk.calls
    assert (first.number, second.number) == (1, 2)
    assert "not JSON" in second.request.corrections[0].complaint
    assert "not a real model" in second.request.corrections[0].answer
    assert "".join(piece.text for piece in desk.told) in second.request.corrections[0].answer


@pytest.mark.parametrize("repairs", [0, 1, 3])
async def test_an_answer_that_never_fits_fails_for_good_with_all_that_it_cost(desk, model, repairs):
    await model.post("/control/behaviours", json=[{"kind": "misfit", "cost": 0.25, "times": repairs + 1}])
    outcome = await desk.do({"userMessage": "Hi", "responseSchema": SCHEMA, "repairAttempts": repairs})
    assert isinstance(outcome, Permanent)
    assert outcome.problem.code == "llm_invalid_output"
    assert cost_of(outcome) == 0.25 * (repairs + 1)
    assert len(desk.calls) == repairs + 1


async def test_json_that_the_cap_cut_off_is_not_asked_for_again(desk):
    outcome = await desk.do({"userMessage": "Hi", "responseSchema": SCHEMA, "maxOutputTokens": 3})
    assert isinstance(outcome, Permanent)
    assert "cap on output tokens" in outcome.problem.message
    assert len(desk.calls) == 1


async def test_a_repair_that_fails_tells_what_the_first_call_cost(desk, model):
    script = [{"kind": "misfit", "cost": 0.25}, {"kind": "error", "status": 503}]
    await model.post("/control/behaviours", json=script)
    outcome = await desk.do({"userMessage": "Hi", "responseSchema": SCHEMA})
    assert isinstance(outcome, Retryable)
    assert (outcome.problem.code, cost_of(outcome)) == ("llm_unavailable", 0.25)


# Failures


@pytest.mark.parametrize(
    ("word", "kind", "code", "retry_after"),
    [
        ("429=7", Retryable, "llm_rate_limited", 7),
        ("inside=429", Retryable, "llm_rate_limited", None),
        ("drop", Retryable, "llm_incomplete", None),
        ("quota", Permanent, "llm_quota", None),
        ("context", Permanent, "llm_context_length", None),
        ("refuse", Permanent, "llm_refused", None),
    ],
)
async def test_a_failure_says_what_where_and_what_to_do(desk, word, kind, code, retry_after):
    outcome = await desk.do({"model": f"offline:{word}", "userMessage": "Hi"})
    assert type(outcome) is kind
    assert outcome.problem.code == code
    assert outcome.problem.where == f"model offline:{word} of provider offline"
    assert outcome.problem.fix
    assert getattr(outcome, "retry_after", None) == retry_after


async def test_an_answer_that_may_not_be_whole_is_told(desk):
    short = succeeded(await desk.do({"userMessage": "Hi", "maxOutputTokens": 3}))
    open_ended = succeeded(await desk.do({"model": "offline:unfinished", "userMessage": "Hi"}))
    assert [warning.code for warning in short.warnings] == ["llm_output_truncated"]
    assert [warning.code for warning in open_ended.warnings] == ["llm_finish_reason_missing"]


async def test_no_failure_and_no_log_shows_a_key(desk_for, base_url, model, caplog, capfd):
    words = ["429", "500", "401", "stall", "silence", "garbage", "garble", "drop", "midway=500", "gemini=400"]
    echo = {"kind": "error", "message": f"the key {KEY} is not welcome"}
    caplog.set_level("DEBUG")
    async with desk_for(offline(base_url, api_key=KEY, timeout=0.5)) as desk:
        outcomes = [await desk.do({"model": f"offline:{word}", "userMessage": "Hi"}) for word in words]
        await model.post("/control/behaviours", json=[{**echo, "status": 400}, {**echo, "status": 401}])
        outcomes += [await desk.do({"userMessage": "Hi"}) for _ in range(3)]
    shown = "".join(map(repr, outcomes)) + caplog.text + "".join(capfd.readouterr())
    assert "offline" in caplog.text or "POST" in caplog.text
    assert KEY not in shown
