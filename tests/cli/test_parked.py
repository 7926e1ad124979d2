import msgspec

from schemas import subjects, turn_requests
from schemas.turn_requests import TurnRequest
from services import clock, ids
from services.cli.parked import again
from services.journal.parked import ParkedMessage


def test_a_request_is_replayed_whatever_its_key_stands_for_and_however_late():
    conversation_id = ids.conversation_id()
    request = TurnRequest(
        response_id=ids.response_id(conversation_id),
        conversation_id=conversation_id,
        body=msgspec.Raw(b'{"model":"m","input":"Hi"}'),
        request_id="key",
        expires_at=clock.now(),
    )
    message = ParkedMessage(
        sequence=1,
        at=clock.now(),
        stream=subjects.TURN_REQUESTS,
        reason="attempts",
        subject=subjects.turn_request("default", conversation_id),
        payload=turn_requests.encode(request),
    )
    payload, response_id = again(message)
    assert response_id not in {None, request.response_id}
    assert turn_requests.decode(payload) == TurnRequest(
        response_id=str(response_id), conversation_id=conversation_id, body=request.body
    )
