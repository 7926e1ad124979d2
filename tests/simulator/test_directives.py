import pytest

from services.simulator.directives import Directives, read


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("Hi there", Directives(rest="Hi there")),
        ("Hi [[delay 0.05]] there", Directives(rest="Hi there", delay_s=0.05)),
        ("[[delay 9999]]", Directives(delay_s=60)),
        ("[[words 20]] please", Directives(rest="please", words=20)),
        ("[[error 429]]", Directives(error=429)),
        ("[[fail]][[incomplete]] [[drop]]", Directives(fail=True, incomplete=True, drop=True)),
        ("[[say Exactly  this.]]", Directives(say="Exactly  this.")),
        ("[[call find]]", Directives(calls=[("find", "{}")])),
        (
            '[[call find {"a": [[1]]}]] and [[call get-it {"b":"]]"} ]]',
            Directives(rest="and", calls=[("find", '{"a": [[1]]}'), ("get-it", '{"b":"]]"}')]),
        ),
    ],
)
def test_directives_are_taken_out_of_the_text(text, directives):
    assert read(text) == directives


@pytest.mark.parametrize(
    "text",
    ["[[unknown 1]]", "[[error 200]]", "[[call f {broken]]", "[[delay x]]", "[[", "]] [[fail"],
)
def test_what_is_no_directive_is_text(text):
    assert read(text) == Directives(rest=text)
