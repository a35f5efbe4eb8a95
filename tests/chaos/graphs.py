"""The workflows that the fault tests run."""

from shared.contracts.graph import Edge, Node, WorkflowGraph


def question(node_id: str, text: str = "?", *, timeout: float | None = None) -> Node:
    # Two params, in an order that PostgreSQL does not keep: what comes again must be known again all the same.
    return Node(id=node_id, type="llm", params={"userMessage": text, "model": "offline"}, timeout=timeout)


def _edge(source: str, target: str, handle: str) -> Edge:
    return Edge(source=source, target=target, target_handle=handle)


DIAMOND = WorkflowGraph(
    nodes=(
        Node(id="say", type="text", params={"text": "how are you?"}),
        question("left"),
        question("right"),
        question("join"),
        Node(id="result", type="response"),
    ),
    edges=(
        _edge("say", "left", "texts"),
        _edge("say", "right", "texts"),
        _edge("left", "join", "texts"),
        _edge("right", "join", "texts"),
        _edge("join", "result", "answer"),
    ),
)
DIAMOND_JOBS = 3
SINGLE = WorkflowGraph(nodes=(question("ask"),))


def siblings(count: int) -> WorkflowGraph:
    """That many questions which wait for nothing, and one that joins their answers."""
    names = [f"sibling_{number}" for number in range(count)]
    return WorkflowGraph(
        nodes=(*map(question, names), question("join")), edges=tuple(_edge(name, "join", "texts") for name in names)
    )
