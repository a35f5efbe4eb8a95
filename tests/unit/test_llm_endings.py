"""How a call ended, as the ledger keeps it; and what it is thought to take beforehand."""

from decimal import Decimal
from uuid import uuid4

import pytest

from llm_worker.domain.endings import CallStatus, KeptError, answered, failed, given_up
from llm_worker.domain.estimate import IMAGE_TOKENS, estimated_tokens, estimated_tokens_of_job
from llm_worker.domain.model import ModelError, ModelErrorCode, ModelReply, ModelRequest
from llm_worker.prices import frozen_price, list_price
from shared.contracts.commands import JobInput, NodeExecute
from shared.contracts.events import Usage
from shared.contracts.llm_params import LlmParams
from shared.contracts.values import AssetRef, ImageValue, TextValue

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize("ambiguous", [True, False])
def test_an_error_is_kept_as_it_was(ambiguous):
    err = ModelError(
        ModelErrorCode.TIMEOUT,
        "late",
        retryable=True,
        retry_after=2.5,
        usage=Usage(model="m", cost=0.1),
        ambiguous=ambiguous,
    )
    ending = failed(err)
    assert ending.error
    again = KeptError.model_validate_json(ending.error.to_json()).as_error()
    assert vars(again) == vars(err)
    assert ending.status is (CallStatus.UNKNOWN if ambiguous else CallStatus.FAILED)


def test_a_cost_is_kept_as_it_was_told_and_one_that_is_unknown_is_not_zero():
    told = answered(ModelReply(text="a", usage=Usage(model="m", cost=0.1)))
    assert told.cost == Decimal("0.1")
    assert answered(ModelReply(text="a", usage=Usage(model="m"))).cost is None
    assert given_up("cancelled").cost is None


def test_the_price_of_the_list_is_kept_with_its_terms():
    cost = list_price("gpt-4o-mini", OPENAI, input_tokens=1_000, output_tokens=100, cached_tokens=200)
    usage = Usage(model="gpt-4o-mini", input_tokens=1_000, cached_tokens=200, output_tokens=100, cost=cost)
    price = frozen_price(usage, OPENAI)
    assert price
    assert price["source"] == "list"
    assert price["model"] == "openai/gpt-4o-mini"
    assert "$0.6/output MTok" in str(price["prices"])
    assert frozen_price(usage.model_copy(update={"cost": 0.123}), OPENAI) == {"source": "provider"}
    assert frozen_price(usage.model_copy(update={"cost": None}), OPENAI) is None


def test_a_job_is_thought_to_take_what_its_request_is():
    params = LlmParams(user_message="x" * 300, system_prompt="y" * 30, max_output_tokens=50)
    picture = ImageValue(asset=AssetRef(key="k", media_type="image/png", size=1, width=1, height=1))
    inputs = {
        "images": (JobInput(source="photo", value=picture),),
        "texts": (JobInput(source="text", value=TextValue(text="z" * 90)),),
    }
    job = NodeExecute(run_id=uuid4(), node_id="n", node_type="llm", inputs=inputs)
    request = ModelRequest("m", "y" * 30, "x" * 300 + "z" * 90, ("data:image/png;base64,AA==",), 50)
    expected = (300 + 30 + 90) // 3 + IMAGE_TOKENS + 50
    assert abs(estimated_tokens_of_job(job, params) - expected) <= 2
    assert abs(estimated_tokens(request) - expected) <= 2
