"""The AsyncAPI document held against its specification, which is published for Node alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from schemas import asyncapi
from schemas.shapes import Shape


@pytest.fixture
def specification(installed: Path) -> Draft7Validator:
    path = installed / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
    return Draft7Validator(json.loads(path.read_bytes()))


def faults(specification: Draft7Validator, document: Shape) -> list[str]:
    """What is wrong with a document, as it would be read."""
    read: Any = json.loads(json.dumps(document))
    return [f"{error.json_path}: {error.message}" for error in specification.iter_errors(read)]


@pytest.mark.parametrize("made", [asyncapi.document, asyncapi.whole], ids=["written", "served"])
def test_the_document_is_as_the_specification_says(specification: Draft7Validator, made):
    document = made(version="1")
    assert faults(specification, document) == []
    document["operations"]["send_conversation"]["action"] = "shout"
    assert len(faults(specification, document)) == 1
