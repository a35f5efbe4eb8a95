"""What an earlier output is found by: everything that an output depends on, and nothing else.

The key is made from contents, not from ancestry: an upstream change that yields the same output changes no key.
"""

import json
from hashlib import sha256

from orchestrator.domain.decide import job_inputs
from orchestrator.domain.state import RunState
from shared.contracts.commands import JobInput
from shared.contracts.states import NodeStatus
from shared.contracts.values import ImageValue


def reusable(state: RunState, event_id: str, *, after: int) -> dict[str, str]:
    """Return the nodes whose jobs an event is about to cause, and that may reuse an output: by node id, the key.

    The first `after` nodes that the event changed are passed over.
    """
    changed = state.caused.get(event_id, ())[after:]
    waiting = (node_id for node_id in changed if _is_made_ready_by(state, node_id, event_id))
    return {node_id: key for node_id in waiting if (key := cache_key(state, node_id))}


def _is_made_ready_by(state: RunState, node_id: str, event_id: str) -> bool:
    node = state.nodes[node_id]
    return node.status is NodeStatus.QUEUED and node.cause == event_id


def cache_key(state: RunState, node_id: str) -> str | None:
    """Return what a node's output is found by, for nodes that have all their inputs; None where none may be reused."""
    if not state.accepted.command.options.use_cache or not state.plan.may_reuse(node_id):
        return None
    node_type = state.plan.node_type(node_id)
    params = node_type.read_params(state.plan.nodes[node_id].params).model_dump(mode="json")
    inputs = {
        handle: [_identity(item, labelled=node_type.labels_matter) for item in items]
        for handle, items in job_inputs(state, node_id).items()
    }
    content = json.dumps([node_type.name, node_type.version, params, inputs], sort_keys=True, separators=(",", ":"))
    return sha256(content.encode()).hexdigest()


def _identity(item: JobInput, *, labelled: bool) -> list[object]:
    # A picture is its content's digest, which is its key in the asset store.
    value = item.value.asset.key if isinstance(item.value, ImageValue) else item.value.model_dump(mode="json")
    return [item.source if labelled else None, item.value.type, value]
