import json
from pathlib import Path

import pytest

from schemas.http import websocket
from schemas.http.create_response import read_create
from schemas.http.errors import Invalid
from services.conversation.refusals import PreviousResponseUnknown

SAMPLES = Path(__file__).parents[1] / "contract" / "samples"


def sample(name):
    return json.loads((SAMPLES / f"{name}.json").read_text())


def read(frame):
    return websocket.read_frame(json.dumps(frame).encode())


@pytest.mark.parametrize("frame", sample("ws_client_events"))
def test_the_frames_of_clients_are_read(frame):
    if frame["type"] == "response.steer":
        with pytest.raises(Invalid) as refused:
            read(frame)
        assert refused.value.code == "steering_not_supported"
        return
    create = read(frame)
    body, generate = websocket.body_of(create)
    assert create.stream_id == frame.get("stream_id")
    assert generate == frame.get("generate", True)
    expected = {k: v for k, v in frame.items() if k not in {"type", "stream_id", "generate"}}
    assert json.loads(body) == expected | {"stream": True}


def test_a_body_is_carried_as_it_was_written():
    payload = b'{"type":"response.create","input":"\\u00e9 \xc3\xa9","n":1.50, "stream": 7}'
    body, _ = websocket.body_of(websocket.read_frame(payload))
    assert body == b'{"input":"\\u00e9 \xc3\xa9","n":1.50,"stream":true}'


def test_only_who_does_not_ask_the_model_may_say_nothing():
    frame = {"type": "response.create", "model": "m"}
    for generate in (True, None):
        body, asked = websocket.body_of(read(frame | {"generate": generate}))
        with pytest.raises(Invalid, match="must be provided"):
            read_create(body, strict=False, generate=asked)
    for given in ({}, {"input": []}, {"input": None}):
        body, asked = websocket.body_of(read(frame | {"generate": False} | given))
        assert read_create(body, strict=True, generate=asked).model == "m"


def test_an_event_is_sent_with_the_name_of_its_lane():
    (created, *_) = sample("ws_server_events")
    lane = created.pop("stream_id")
    data = json.dumps(created, separators=(",", ":")).encode()
    assert websocket.event(data, None) == data
    assert websocket.event(data, lane) == data[:-1] + b',"stream_id":"lane-1"}'


def test_an_error_is_nested():
    expected = sample("ws_error_previous_response_not_found")
    response_id = expected["error"]["message"].split("'")[1]
    refused = PreviousResponseUnknown(response_id)
    frame = websocket.refusal(
        refused.body(), status=refused.status, retry_after_s=None, stream_id="lane-1"
    )
    assert json.dumps(json.loads(frame)) == json.dumps(expected)
    waiting = websocket.refusal(refused.body(), status=429, retry_after_s=7, stream_id=None)
    assert json.loads(waiting)["error"]["headers"] == {"retry-after": "7"}
    assert "stream_id" not in json.loads(waiting)
