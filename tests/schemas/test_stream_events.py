import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.http import stream_events
from services import ids
from tests.builders import PROPERTY


def frame(name, **fields: object):
    return stream_events.frame(name, json.dumps({"type": name, **fields}).encode())


@PROPERTY
@given(st.lists(st.text(max_size=40), max_size=8))
def test_a_payload_is_taken_apart_into_its_frames(texts):
    made = [frame("response.output_text.delta", delta=text) for text in texts]
    assert stream_events.frames(b"".join(made)) == made
    assert [json.loads(stream_events.data(one))["delta"] for one in made] == texts
    assert stream_events.count(b"".join(made)) == len(made)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\n\n"])
def test_json_that_was_written_in_lines_is_one_line_of_an_event(line_end):
    tools = json.dumps([{"type": "function", "name": "a\n\rb"}], indent=1)
    response = '{"tools":' + tools.replace("\n", line_end) + "}"
    one = stream_events.lifecycle("response.created", response.encode(), 0)
    name, data, *rest = one.splitlines()
    assert (name, rest) == (b"event: response.created", [b""])
    assert json.loads(data.removeprefix(b"data: "))["response"] == json.loads(response)
    assert stream_events.frames(one + one) == [one, one]


@PROPERTY
@given(st.text(max_size=70))
def test_padded_deltas_are_a_multiple_of_sixteen_long(text):
    padded = stream_events.obfuscated(
        frame("response.output_text.delta", delta=text, sequence_number=3), ids.letters
    )
    event = json.loads(stream_events.data(padded))
    padding = event.pop("obfuscation")
    assert event == {"type": "response.output_text.delta", "delta": text, "sequence_number": 3}
    assert (len(text) + len(padding)) % 16 == 0
    assert all(letter.isascii() and letter.isalnum() for letter in padding)


@pytest.mark.parametrize(
    "one",
    [
        frame("response.output_text.done", text="Hi"),
        frame("response.shell_call_output_content.delta", delta={"stdout": "x"}),
    ],
)
def test_what_is_no_text_of_a_delta_is_not_padded(one):
    assert stream_events.obfuscated(one, ids.letters) == one
