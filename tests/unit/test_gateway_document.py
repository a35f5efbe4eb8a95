"""The OpenAPI document: operations keep their names, and every error is told of."""

import pytest

from gateway.app import openapi_document


def operations():
    for path, methods in openapi_document()["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_operation_ids_are_stable():
    assert {operation["operationId"] for _, operation in operations()} == {
        "upload_image",
        "create_workflow",
        "list_workflows",
        "get_workflow",
        "execute_workflow",
        "list_workflow_runs",
        "list_runs",
        "find_run",
        "get_timeline",
        "get_statistics",
        "get_run",
        "watch_run",
        "watch_workflow",
        "import_workflow",
        "validate_workflow",
        "update_workflow",
        "delete_workflow",
        "export_workflow",
        "execute_workflow_batch",
        "explain_run",
        "cancel_run",
        "resume_run",
        "replay_run",
        "list_node_types",
        "list_run_assets",
        "get_picture",
        "create_key",
        "list_keys",
        "revoke_key",
        "find_costs",
        "list_queues",
        "get_queue",
        "list_dead_letters",
        "get_dead_letter",
        "replay_dead_letters",
        "drop_dead_letters",
    }


@pytest.mark.parametrize(("name", "operation"), [pytest.param(*item, id=item[0]) for item in operations()])
def test_every_error_is_documented_as_a_problem(name, operation):
    errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
    assert errors.keys() >= ({"422", "503"} if "{" in name or "runs" in name or "post" in name else set())
    for answer in errors.values():
        schema = answer["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemDetails"}
    assert operation["description"]


def test_what_the_document_refers_to_is_in_it():
    document = openapi_document()
    names = {"ProblemDetails", "Problem", "RunView", "WorkflowView"}
    assert names <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in document["components"]["schemas"]
