"""A workflow for peers that have no graphs: its nodes in a list, done in stages by a program of ours."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.shapes import Shape

Plan = Sequence[tuple[str, Sequence[int]]]  # of each node, its kind and the numbers of those that it waits for
Do = Callable[[str, Sequence[object]], Awaitable[object]]


def plan_of(shape: Shape) -> Plan:
    """Return a workflow as what any peer can pass on."""
    return [(node.kind, list(node.after)) for node in shape.nodes]


async def do_in_stages(plan: Plan, do: Do) -> object:
    """Do all nodes, side by side where nothing is waited for; return the last one's output.

    Those of a stage begin in the order of their numbers: so a run that is taken up again finds its checkpoints.
    """
    outputs: dict[int, object] = {}
    while len(outputs) < len(plan):
        ready = [
            number for number, (_, after) in enumerate(plan) if number not in outputs and outputs.keys() >= {*after}
        ]
        done = await asyncio.gather(
            *(do(plan[number][0], [outputs[source] for source in plan[number][1]]) for number in ready)
        )
        outputs.update(zip(ready, done, strict=True))
    return outputs[len(plan) - 1]
