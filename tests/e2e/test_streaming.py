"""The pieces of a model's answer reach who watches the run, while they come."""

PACED = {"kind": "answer", "pace_ms": 60, "times": 4}


def test_pieces_of_an_answer_are_seen_in_order_before_its_node_succeeds(system):
    system.script_model(PACED)
    run_id = system.start_sample_run(options={"useCache": False})
    pieces, ended = [], []
    for kind, data in system.events(run_id):
        if kind == "node.progress" and data["nodeId"] == "join":
            assert not ended, "no piece comes after the end"
            pieces.append(data)
        elif kind == "node.succeeded" and data["nodeId"] == "join":
            ended.append(data)
    (answer,) = ended
    text = "".join(piece["text"] for piece in pieces)
    assert len(pieces) > 1
    assert text
    assert answer["output"]["text"].startswith(text)
    assert [piece["sequence"] for piece in pieces] == list(range(1, len(pieces) + 1))
    assert [piece["offset"] for piece in pieces[:2]] == [0, len(pieces[0]["text"])]
