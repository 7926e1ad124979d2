import json
import re
from collections.abc import Iterator
from inspect import getmembers, isfunction, signature
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from jsonschema import Draft202012Validator
from nats.aio.client import Client
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from starlette.routing import Route

from schemas import asyncapi, openapi, subjects
from schemas.api_keys import READ
from schemas.channels import CHANNELS
from schemas.http import known
from schemas.http.operations import OPERATIONS
from schemas.http.scopes import OPERATION_SCOPES
from services.gateway.app import build
from services.gateway.key_ring import KeyRing
from services.gateway.settings import GatewaySettings
from services.model.connect import model
from services.sealing import Sealer, fresh_key

DOCUMENTS = {
    openapi.FILE: openapi.document(version="1", server="/"),
    asyncapi.FILE: asyncapi.document(version="1"),
}
OPENAPI, ASYNCAPI = DOCUMENTS.values()
REGISTRY: Registry[Any] = Registry().with_resources(
    [(file, DRAFT202012.create_resource(document)) for file, document in DOCUMENTS.items()]
)
SAMPLES = Path(__file__).parents[1] / "contract" / "samples"


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """What is wrong with a value by a schema of the OpenAPI document."""
    validator = Draft202012Validator({**schema, "components": OPENAPI["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def named(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def every(key: str, inside: Any) -> Iterator[Any]:
    """Values of a key, wherever it stands."""
    if isinstance(inside, dict):
        for name, value in inside.items():
            if name == key:
                yield value
            yield from every(key, value)
    elif isinstance(inside, list):
        for value in inside:
            yield from every(key, value)


def test_the_openapi_document_is_one():
    schemathesis.openapi.from_dict(OPENAPI).validate()


@pytest.mark.parametrize("file", DOCUMENTS)
def test_every_schema_is_one(file: str):
    for schema in DOCUMENTS[file]["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("file", DOCUMENTS)
def test_every_reference_leads_somewhere(file: str):
    resolver = REGISTRY.resolver(file)
    found = list(every("$ref", DOCUMENTS[file]))
    assert found
    for reference in found:
        resolver.lookup(reference)


def test_every_named_schema_is_referred_to():
    text = json.dumps(list(DOCUMENTS.values()))
    unused = [
        name
        for document in DOCUMENTS.values()
        for name in document["components"]["schemas"]
        if f'/components/schemas/{name}"' not in text
    ]
    # The outline is a header, whose text nothing can refer to.
    assert unused == ["Outline"]


def test_every_operation_has_a_name_of_its_own():
    assert len({row.id for row in OPERATIONS}) == len(OPERATIONS)
    assert {link.operation for row in OPERATIONS for link in row.links} <= {
        row.id for row in OPERATIONS
    }


def fields_of(shape: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields an object, or the objects in an array, may have, whatever else may be there."""
    if "$ref" in shape:
        shape = OPENAPI["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
    inner = [*shape.get("anyOf", ()), *([shape["items"]] if "items" in shape else ())]
    found = dict(shape.get("properties", {}))
    for each in inner:
        found |= fields_of(each)
    return found


def unlike(shape: dict[str, Any], names: known.Names) -> set[str]:
    """Fields that only one of the document and a strict server knows."""
    fields = fields_of(shape)
    return (fields.keys() ^ names.keys()) | {
        f"{name}.{inner}"
        for name in fields.keys() & names.keys()
        if names[name]
        for inner in unlike(fields[name], names[name])
    }


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("CreateConversationRequest", known.CREATE_CONVERSATION),
        ("UpdateConversationRequest", known.UPDATE_CONVERSATION),
        ("CreateItemsRequest", known.CREATE_ITEMS),
        ("CreateResponseRequest", known.CREATE_RESPONSE),
        ("CompactRequest", known.COMPACT),
        ("InputTokensRequest", known.INPUT_TOKENS),
    ],
)
def test_the_fields_of_a_body_are_those_a_strict_server_knows(body: str, names: known.Names):
    assert unlike(named(body), names) == set()


def test_the_parameters_of_a_path_are_those_it_names():
    for row in OPERATIONS:
        declared = [each.name for each in row.parameters if each.place == "path"]
        assert declared == re.findall(r"{(\w+)}", row.path)


def test_every_operation_says_what_its_key_must_allow():
    assert {row.id for row in OPERATIONS} == OPERATION_SCOPES.keys()
    for row in OPERATIONS:
        needed = OPERATION_SCOPES[row.id]
        described = OPENAPI["paths"][row.path][row.method.lower()]
        assert described["security"] == ([] if needed is None else [{"ApiKey": [needed]}])
        # Who may only read changes nothing.
        assert needed != READ or row.method == "GET" or row.id == "countInputTokens"


async def test_every_route_is_described_and_every_description_is_routed():
    settings = GatewaySettings(model_url="http://127.0.0.1:9/v1", model_key="any")
    sealer = Sealer(fresh_key())
    upstream = model(settings, sealer)
    try:
        ring = KeyRing(Client(), demanded=False)
        gateway = await build(settings, Client(), upstream, sealer, ring)
    finally:
        await upstream.aclose()
    routes = [
        (method, route.path.replace(":path}", "}"))
        for route in gateway.app._app._app._app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    ]

    assert sorted(routes) == sorted((row.method, row.path) for row in OPERATIONS)


def test_every_example_is_one():
    contents = [each[openapi.JSON] for each in every("content", OPENAPI) if openapi.JSON in each]
    examples = [
        (value, content["schema"])
        for content in contents
        for value in (
            *(example["value"] for example in content.get("examples", {}).values()),
            *([content["example"]] if "example" in content else []),
        )
    ]
    assert len(examples) > len(OPERATIONS)
    assert [found for value, schema in examples if (found := faults(value, schema))] == []


def test_every_channel_names_its_parameters():
    for name, channel in ASYNCAPI["channels"].items():
        named = re.findall(r"{(\w+)}", channel["address"] or "")
        assert list(channel.get("parameters", {})) == named, name


def test_every_subject_has_a_channel():
    builders = {
        name: build_subject
        for name, build_subject in getmembers(subjects, isfunction)
        if not name.endswith(("_parts", "_project"))
        and name not in {"ask", "kept_key"}
        and not name.startswith(("content_key", "api_key"))
    }
    addresses = {
        function(*(f"{{{name}}}" for name in signature(function).parameters))
        for function in builders.values()
    }
    questions = map(
        subjects.ask, ("sql", "conversations", "export", "digest", "rebuild", "compact")
    )
    assert addresses | set(questions) == {
        row.address for row in CHANNELS.values() if row.server == "nats"
    }


def described(http: str, place: str) -> dict[str, Any]:
    """The schema of a body of the call a sample was taken from; without one, of a response."""
    found = re.search(r"(GET|POST|DELETE) (/v1/[\w{}/]+)", http)
    if found is None:
        return named("Response")
    method, path = found.groups()
    shape = re.sub(r"{\w+}", "{}", path)
    rows = [row for row in OPERATIONS if row.method == method]
    (row,) = [row for row in rows if re.sub(r"{\w+}", "{}", row.path) == shape]
    operation = OPENAPI["paths"][row.path][method.lower()]
    body = operation["requestBody"] if place == "request" else operation["responses"]["200"]
    schema: dict[str, Any] = body["content"]["application/json"]["schema"]
    return schema


OTHERS = {
    "items_all_variants.json": named("Item"),
    "input_items_all_variants_minimal.json": named("InputItemParam"),
}
NOT_OURS = {
    "conversation_item_deleted_2025_trace.json",  # an older answer
    "stream_failed_nested_error_live_capture.json",  # breaks the SDK
    "agents_sdk_captured_requests.json",
}


def samples() -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    for entry in json.loads((SAMPLES / "_manifest.json").read_bytes()):
        file, kind = entry["file"], entry["kind"]
        if file in NOT_OURS or kind == "ws":
            continue
        value = json.loads((SAMPLES / file).read_bytes())
        if kind == "error":
            yield file, [each["body"] for each in value], named("ErrorBody")
        elif kind == "stream":
            yield file, value, named("ResponseStreamEvent")
        elif file in OTHERS:
            yield file, value, OTHERS[file]
        else:
            yield file, [value], described(entry.get("http") or "", kind)


SAMPLED = {file: (values, schema) for file, values, schema in samples()}


@pytest.mark.parametrize("file", SAMPLED)
def test_the_contracts_samples_are_as_described(file: str):
    values, schema = SAMPLED[file]
    assert [found for value in values if (found := faults(value, schema))] == []
