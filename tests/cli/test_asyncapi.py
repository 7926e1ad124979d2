import json

import msgspec.yaml
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from services.cli.asyncapi import asyncapi


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(asyncapi, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def document():
    return json.loads(printed("--format", "json"))


def test_both_forms_say_the_same(document):
    assert msgspec.yaml.decode(printed().encode()) == document


def test_all_it_refers_to_is_inside(document):
    references = {
        line.strip() for line in json.dumps(document, indent=1).splitlines() if '"$ref"' in line
    }
    assert len(references) > len(document["channels"])
    for reference in references:
        ((_, name),) = json.loads(f"{{{reference.rstrip(',')}}}").items()
        hash_sign, *path = name.split("/")
        assert hash_sign == "#"
        found = document
        for part in path:
            found = found[part]


def test_a_commit_is_described_to_its_events(document):
    schema = {"$ref": "#/components/schemas/Commit", "components": document["components"]}
    commit = {
        "id": "c1",
        "conversation_id": "conv_1",
        "project": "default",
        "at": "2026-11-25T12:00:00Z",
        "actor": "gateway",
        "prev": None,
        "events": [
            {"type": "conversation_updated", "version": 1, "data": {"metadata": {"a": "b"}}}
        ],
    }
    validator = Draft202012Validator(schema)
    assert list(validator.iter_errors(commit)) == []
    commit["events"][0]["data"]["metadata"] = 5
    assert list(validator.iter_errors(commit)) != []
