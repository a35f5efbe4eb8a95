"""The example of docs/examples: a run started by a plain AMQP client, without the gateway."""

import subprocess
import sys

from tests.e2e.system import EXAMPLES


def test_the_example_with_plain_pika_starts_a_run_and_prints_its_answer(system, stack):
    question = "How many words has this question?"
    done = subprocess.run(
        [sys.executable, EXAMPLES / "start_run.py", stack.amqp_url, question],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1:4] == ["run.started", "run.finished", "completed"]
    assert "6 words" in done.stdout
    run_id = lines[0].removeprefix("started ")
    assert system.finished(run_id).status == "completed"
