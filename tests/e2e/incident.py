"""An incident on the running system: a worker that gives up every job, and what `weft` says of it."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from tests.e2e.system import System
from tests.e2e.waiting import until

GRAPH = {"nodes": [{"id": "ask", "type": "llm", "params": {"userMessage": "what is it?"}}], "edges": []}
WORKER = "llm_worker"


class Incident:
    """Runs of a workflow whose only jobs die, and then the runs that take them up."""

    def __init__(self, system: System, weft: Any, count: int) -> None:
        self.system, self.weft, self.count = system, weft, count
        self.workflow = system.post("/api/workflows", id=str(uuid4()), graph=GRAPH)["id"]

    def happen(self) -> None:
        """Let an older worker take the place of the right one, start the runs, and return when all have failed."""
        self.system.supervisor.kill(WORKER)
        with older_worker(self.system):
            path = f"/api/workflows/{self.workflow}/execute-batch"
            reply = self.system.post(path, inputs=[{}] * self.count, options={"useCache": False})
            assert reply["accepted"] == self.count
            until(lambda: self.statistics().get("failed") == self.count)
            until(lambda: self.dead() == self.count)

    def mend(self) -> None:
        """Start the right worker again."""
        self.system.supervisor.start_service(WORKER)

    def dead(self) -> int:
        """Return how many letters `weft` finds of the jobs."""
        code, out, err = self.weft("dead", "list", "--node-type", "llm", "--limit", "1", "-o", "json")
        assert code == 0, err
        return json.loads(out)["total"]

    def statistics(self) -> dict[str, Any]:
        return self.system.get(f"/api/workflows/{self.workflow}/statistics")["total"]

    def runs(self) -> Iterator[dict[str, Any]]:
        """Yield all runs of the workflow."""
        cursor = ""
        while True:
            page = self.system.get(f"/api/workflows/{self.workflow}/runs?limit=200{cursor}")
            yield from page["runs"]
            if "nextCursor" not in page:
                return
            cursor = f"&cursor={page['nextCursor']}"

    def check_that_each_run_was_taken_up_once(self) -> None:
        """Return when for each run that failed there is one that took it up, completed, and nothing is dead."""
        until(lambda: self.statistics()["completed"] == self.count)
        runs = list(self.runs())
        failed = [run["runId"] for run in runs if run["status"] == "failed"]
        taken_up = [run["resumedFrom"] for run in runs if run["status"] == "completed"]
        assert len(runs) == 2 * self.count
        assert sorted(taken_up) == sorted(failed)
        assert self.dead() == 0


@contextmanager
def older_worker(system: System) -> Generator[None]:
    settings = system.supervisor.settings
    names = ("home", "amqp_url", "assets_url")
    variables = {f"WEFT_{name.upper()}": str(getattr(settings, name)) for name in names}
    env = {**{name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}, **variables}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.older_worker"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()
