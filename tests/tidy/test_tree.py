"""Style rules as tests: what a linter does not know about this tree."""

import ast
import re
import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from schemas import subjects

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for name in ("services", "schemas") for path in (ROOT / name).rglob("*.py"))
LINES_MAX = 400
FUNCTION_LINES_MAX = 60
NAMELESS = {"utils", "util", "helpers", "common", "manager", "base", "misc", "types", "models"}
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "services",
    "schemas",
    "tests",
    "deploy",
    "Makefile",
}

_STREAMS = frozenset(
    {"CONVERSATIONS", "TURN_REQUESTS", "DELTAS", "PARKED", "CLAIMS", "turnlog_keys"}
)
_FIRST_TOKENS = "conversation|turn_request|turn_request_unstored"
_OWN_TOKENS = "delta|delta_unstored|cancel|ask|parked"
_SUBJECT = re.compile(
    # The start of an f-string, a wildcard, or a whole subject of three tokens.
    rf"(?:{_FIRST_TOKENS})\.(?:$|[*>]|[^.\s]*\.[^.\s]*$)|(?:{_OWN_TOKENS})\.(?:$|[\w*>-])"
)


def every(kind, tree):
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def prose(tree):
    """Constants that are docstrings, or name a line of a log."""
    for statement in every(ast.Expr, tree):
        yield statement.value
    for called in every(ast.Call, tree):
        of = called.func
        if (
            isinstance(of, ast.Attribute)
            and isinstance(of.value, ast.Name)
            and of.value.id == "log"
        ):
            yield from called.args[:1]


def names_spelled(source: str) -> list[str]:
    """Subjects and streams of NATS that some code spells out."""
    tree = ast.parse(source)
    skipped = {id(node) for node in prose(tree)}
    return [
        node.value
        for node in every(ast.Constant, tree)
        if isinstance(node.value, str)
        and id(node) not in skipped
        and (_SUBJECT.match(node.value) or node.value in _STREAMS)
    ]


def where(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('f"conversation.{project}.{name}"', ["conversation."]),
        ('name = "conversation.default.conv_1"', ["conversation.default.conv_1"]),
        ('name = "conversation.>"', ["conversation.>"]),
        ('"turn_request." + project', ["turn_request."]),
        ('f"delta.{project}"', ["delta."]),
        ('name = "ask.health"', ["ask.health"]),
        ('publish("parked.x")', ["parked.x"]),
        ('name = "CONVERSATIONS"', ["CONVERSATIONS"]),
        ('log.info("conversation.deleted")', []),
        ('log.info("cancel.requested")', []),
        ('param = "conversation.id"', []),
        ('object = "conversation.deleted"', []),
        ('path = "turn_request.json"', []),
        ('"""conversation.default.x is a subject."""', []),
        ('name = "conversations"', []),
    ],
)
def test_the_search_for_names_finds_names_and_nothing_else(source, found):
    assert names_spelled(source) == found


def test_only_one_module_spells_the_names_of_nats():
    spelled = {
        where(path): found
        for path in SOURCES
        if path != Path(subjects.__file__) and (found := names_spelled(path.read_text()))
    }
    assert spelled == {}
    assert names_spelled(Path(subjects.__file__).read_text()) != []


def test_no_file_is_longer_than_a_reader_can_hold():
    lengths = {where(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen():
    lengths = {
        f"{where(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in SOURCES
        for node in every((ast.FunctionDef, ast.AsyncFunctionDef), ast.parse(path.read_text()))
    }
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES_MAX} == {}


def test_every_module_is_named_for_what_it_holds():
    assert [where(path) for path in SOURCES if {path.stem, path.parent.name} & NAMELESS] == []


@pytest.mark.parametrize("name", ["services", "schemas"])
def test_no_other_distribution_brings_a_package_of_our_names(name):
    # An editable installation lists no packages, an installed wheel lists ours.
    assert packages_distributions().get(name, ["turnlog"]) == ["turnlog"]


def test_the_top_level_holds_what_was_agreed():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    top = {line.partition("/")[0] for line in listed.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL
    assert {"services", "schemas", "tests", "pyproject.toml"} <= top


def test_every_module_has_an_opening_sentence():
    without = [
        where(path)
        for path in SOURCES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert without == []
