import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.sealing import KEY_BYTES, Sealer, Unreadable, fresh_key
from tests.builders import PROPERTY

KEY = bytes(range(KEY_BYTES))
SEALER = Sealer(KEY)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@PROPERTY
@given(TEXTS)
def test_a_sealed_text_opens_under_its_key_in_any_process(text):
    blob = SEALER.seal(text)
    assert Sealer(KEY).open(blob) == text
    assert text == "" or blob != SEALER.seal(text)


@PROPERTY
@given(TEXTS)
def test_another_key_does_not_open_it(text):
    with pytest.raises(Unreadable, match="unknown key"):
        Sealer(fresh_key()).open(SEALER.seal(text))


@PROPERTY
@given(TEXTS, st.data())
def test_a_blob_with_any_bit_changed_is_unreadable(text, data):
    raw = bytearray(base64.urlsafe_b64decode(SEALER.seal(text)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Unreadable):
        SEALER.open(base64.urlsafe_b64encode(raw).decode())


@PROPERTY
@given(TEXTS, st.data())
def test_a_blob_cut_anywhere_is_unreadable(text, data):
    raw = base64.urlsafe_b64decode(SEALER.seal(text))
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with pytest.raises(Unreadable):
        SEALER.open(base64.urlsafe_b64encode(cut).decode())


@PROPERTY
@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_anything_else_is_unreadable(blob):
    with pytest.raises(Unreadable):
        SEALER.open(blob)


@PROPERTY
@given(st.binary())
def test_bytes_behind_our_own_header_are_unreadable(rest):
    header = base64.urlsafe_b64decode(SEALER.seal(""))[:8]
    with pytest.raises(Unreadable, match="changed since it was written"):
        SEALER.open(base64.urlsafe_b64encode(header + rest).decode())


@PROPERTY
@given(TEXTS, TEXTS)
def test_a_blob_does_not_show_its_text(text, other):
    assume(len(text) > 3)
    assert text not in SEALER.seal(text)
    assert len(SEALER.seal(text)) == len(SEALER.seal("x" * len(text.encode())))
    assert SEALER.seal(other) != SEALER.seal(text)


def test_keys_are_fresh_and_of_the_size_the_cipher_wants():
    assert len(fresh_key()) == KEY_BYTES == 32
    assert fresh_key() != fresh_key()
