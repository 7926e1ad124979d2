from datetime import timedelta

import pytest

from schemas.http.create_response import read_create
from services.gateway.asking import turn_request


@pytest.mark.parametrize(
    ("body", "waited_for"),
    [
        (b'{"model":"m","input":"Hi"}', True),
        (b'{"model":"m","input":"Hi","stream":true}', True),
        (b'{"model":"m","input":"Hi","store":false}', True),
        (b'{"model":"m","input":"Hi","background":true}', False),
        (b'{"model":"m","input":"Hi","background":true,"stream":true}', False),
    ],
)
def test_a_turn_expires_when_its_client_is_waited_for_no_more(body: bytes, *, waited_for: bool):
    request = turn_request(
        body, read_create(body, strict=False), overlap="reject", answer_wait_s=600
    )
    assert request.asked_at is not None
    expected = request.asked_at + timedelta(minutes=10) if waited_for else None
    assert request.expires_at == expected
    assert request.request_id is None
