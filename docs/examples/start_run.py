"""Start a run without the gateway: publish `run.start` with plain pika, and follow the run to its end.

Usage: python start_run.py AMQP_URL "your question"
Every channel and message is described in docs/asyncapi.json.
"""

import json
import sys
import uuid

import pika

GRAPH = {
    "name": "one question",
    "nodes": [
        {"id": "question", "type": "text"},
        {"id": "ask", "type": "llm", "params": {"systemPrompt": "Answer briefly."}},
        {"id": "result", "type": "response"},
    ],
    "edges": [
        {"source": "question", "target": "ask", "targetHandle": "user_message"},
        {"source": "ask", "target": "result", "targetHandle": "answer"},
    ],
}


def main(amqp_url: str, question: str) -> int:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()

    # A queue of our own, bound to the run events before the run starts, so that none is missed.
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "weft.events", "run.*")

    # The run's id is ours to make: publishing the same one again starts nothing new.
    run_id = str(uuid.uuid4())
    command = {
        "schemaVersion": 1,
        "kind": "run.start",
        "runId": run_id,
        "graph": GRAPH,
        "inputs": {"question": {"type": "text", "text": question}},
    }
    properties = pika.BasicProperties(
        message_id=f"{run_id}/run.start",
        correlation_id=run_id,
        type="run.start",
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent,
    )
    channel.confirm_delivery()  # from here on basic_publish raises unless the broker has the message safe
    channel.basic_publish("weft.runs", "run.start", json.dumps(command), properties, mandatory=True)
    print("started", run_id)

    for _, event_properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=120):
        if body is None:
            print("nothing came for two minutes")
            return 124
        if event_properties.correlation_id != run_id:
            continue
        event = json.loads(body)
        print(event["kind"])
        if event["kind"] == "run.finished":
            break
    connection.close()

    print(event["status"])
    if event["status"] != "completed":
        return 1
    print(event["result"]["fields"]["answer"]["text"])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
