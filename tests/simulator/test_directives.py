import pytest

from services.simulator.directives import (
    _FORMS,
    HELP,
    HOSTED,
    REFUSAL,
    Delivery,
    Directives,
    Gate,
    read,
)
from services.simulator.faults import HttpError, Trouble


def delivered(**fields: object):
    return Directives(delivery=Delivery(**fields))


def troubled(**fields: object):
    return Directives(trouble=Trouble(**fields))


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("Hi there", Directives(rest="Hi there")),
        ("Hi [[words 20]] there", Directives(rest="Hi there", words=20)),
        ("[[say Exactly  this.]]", Directives(say="Exactly  this.")),
        ("[[refuse]]", Directives(refuse=REFUSAL)),
        ("[[refuse Not that.]]", Directives(refuse="Not that.")),
        ("[[commentary I look.]]", Directives(commentary="I look.")),
        ("[[reasoning]]", Directives(reasoning="summary")),
        ("[[reasoning both]]", Directives(reasoning="both")),
        ("[[incomplete]]", Directives(incomplete="max_output_tokens")),
        ("[[incomplete content_filter]]", Directives(incomplete="content_filter")),
        ("[[call find]]", Directives(calls=[("find", "")])),
        (
            '[[call find {"a": [[1]]}]] and [[call get-it {"b":"]]"} ]]',
            Directives(rest="and", calls=[("find", '{"a": [[1]]}'), ("get-it", '{"b":"]]"}')]),
        ),
        ("[[call sql SELECT\n 1 ]]", Directives(calls=[("sql", "SELECT\n 1")])),
        (
            "[[hosted web_search]] [[hosted mcp failed]]",
            Directives(hosted=[("web_search", False), ("mcp", True)]),
        ),
        ("[[delay 0.05]]", delivered(delay_s=0.05)),
        ("[[delay 9999]]", delivered(delay_s=60)),
        ("[[wait 2]] [[no-usage]]", delivered(wait_s=2, usage=False)),
        (
            "[[queued]][[keepalive]][[unknown-event]]",
            delivered(queued=True, keepalive=True, unknown_event=True),
        ),
        ("[[gate here]]", delivered(gate=Gate("here", "first"))),
        ("[[gate 7 3]]", delivered(gate=Gate("7", 3))),
        ("[[gate a.b last]]", delivered(gate=Gate("a.b", "last"))),
        ("[[error 429]]", troubled(error=HttpError(status=429))),
        (
            "[[error 429 7 insufficient_quota]]",
            troubled(error=HttpError(status=429, retry_after_s=7, code="insufficient_quota")),
        ),
        ("[[error 503 times=2]]", troubled(error=HttpError(status=503), times=2)),
        ("[[drop once]]", troubled(drop="middle", times=1)),
        ("[[fail]][[drop 3]]", troubled(failed="server_error", drop=3)),
        ("[[drop first]] [[hang]]", troubled(drop="first", hang="first")),
        ("[[hang 0]] [[failed bio_policy]]", troubled(hang=0, failed="bio_policy")),
        ("[[malformed]]", troubled(malformed="json")),
        (
            "[[malformed list]] [[unfinished]] [[error-event nested]]",
            troubled(malformed="list", unfinished=True, error_event="nested"),
        ),
    ],
)
def test_directives_are_taken_out_of_the_text(text, directives):
    assert read(text) == directives


@pytest.mark.parametrize(
    "text",
    [
        "[[unknown 1]]",
        "[[error]]",
        "[[error 200]]",
        "[[error 500 times=x]]",
        "[[error 500 a b c]]",
        "[[error 500 1 2]]",
        "[[error 500 a b]]",
        "[[call f {broken]]",
        "[[call f never closed",
        "[[delay]]",
        "[[delay x]]",
        "[[delay 1 2]]",
        "[[words -1]]",
        "[[queued 1]]",
        "[[reasoning aloud]]",
        "[[drop here]]",
        "[[gate]]",
        "[[gate here there]]",
        "[[gate here 1 2]]",
        "[[drop 1 2]]",
        "[[failed]]",
        "[[hosted]]",
        "[[hosted magic]]",
        "[[hosted mcp twice]]",
        "[[say]]",
        "[[",
        "]] [[fail",
    ],
)
def test_what_is_no_directive_is_text(text):
    assert read(text) == Directives(rest=text)


def test_every_directive_is_explained():
    told = {
        line.split("[[")[1].split(" ")[0].split("]")[0]
        for line in HELP.splitlines()
        if "[[" in line
    }
    assert {*_FORMS, "say", "commentary", "call"} <= told
    assert {*HOSTED} <= {*HELP.replace(",", " ").split()}
