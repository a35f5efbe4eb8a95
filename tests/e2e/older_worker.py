"""A worker of `llm` of the real kit, of an older version: it cannot read the jobs of today, and gives each up."""

from typing import Literal

from pydantic import TypeAdapter

from shared.contracts.commands import NodeExecute
from shared.contracts.llm_params import LlmParams
from shared.contracts.node_types import REGISTRY
from shared.worker import Job, Outcome, run_worker
from shared.worker import jobs as kit


class OlderExecute(NodeExecute):
    """A job as that version knew it: before there was a last attempt."""

    last_attempt: Literal["never"]  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


async def answer(job: Job[LlmParams]) -> Outcome:
    raise AssertionError("no job of today can be read")


if __name__ == "__main__":
    kit.__dict__["read_job"] = TypeAdapter(OlderExecute).validate_json
    run_worker(REGISTRY["llm"], answer, concurrency=16)
