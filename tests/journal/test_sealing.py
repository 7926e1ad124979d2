import asyncio
import base64
import string

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


@PROPERTY
@given(TEXTS)
def test_what_was_sealed_with_an_older_key_still_opens_and_the_newest_seals(text):
    older, newest = KEY, fresh_key()
    both = Sealer(older, newest)
    assert both.open(SEALER.seal(text)) == text
    assert Sealer(newest).open(both.seal(text)) == text
    with pytest.raises(Unreadable, match="unknown key"):
        Sealer(older).open(both.seal(text))


@PROPERTY
@given(TEXTS)
def test_what_an_upstream_sealed_is_enclosed_and_is_no_text_of_ours(blob):
    enclosed = SEALER.enclose(blob)
    assert SEALER.enclosed(enclosed) == blob
    SEALER.check(enclosed)
    with pytest.raises(Unreadable, match="sealed by the model's server"):
        SEALER.open(enclosed)
    assert SEALER.enclosed(SEALER.seal(blob)) is None
    assert SEALER.enclosed(blob) is None


def swapped(blob: str, header: bytes) -> str:
    raw = base64.urlsafe_b64decode(blob)
    return base64.urlsafe_b64encode(header + raw[len(header) :]).decode()


@pytest.mark.parametrize("header", [b"t1", b"u1"])
def test_a_text_cannot_pass_for_what_is_enclosed_nor_the_reverse(header):
    for blob in (SEALER.seal("text"), SEALER.enclose("text")):
        if base64.urlsafe_b64decode(blob)[:2] != header:
            with pytest.raises(Unreadable, match="changed since it was written"):
                SEALER.check(swapped(blob, header))


def test_another_version_of_the_form_is_unreadable():
    for header in (b"t0", b"t2", b"u2", b"T1", b"\0\0"):
        with pytest.raises(Unreadable, match="not one of this server's"):
            SEALER.check(swapped(SEALER.seal("text"), header))


def test_a_blob_with_any_character_changed_is_unreadable():
    """Bits of the last characters that stand for nothing included."""
    alphabet = string.ascii_letters + string.digits + "-_=+/ \n"
    for sealed in (SEALER.seal("a"), SEALER.seal("ab"), SEALER.enclose("abc")):
        for at in range(len(sealed)):
            for other in alphabet.replace(sealed[at], ""):
                with pytest.raises(Unreadable):
                    SEALER.check(sealed[:at] + other + sealed[at + 1 :])


def looking(made: list[bytes]) -> tuple[Sealer, list[int]]:
    """A sealer of the first key that finds those ``made`` since, and what it has looked above."""
    looks: list[int] = []

    async def look(known: int) -> tuple[bytes, ...]:
        looks.append(known)
        return tuple(made[known:])

    return Sealer(made[0], look=look), looks


async def test_a_key_that_was_made_since_is_looked_for_once_when_it_is_met():
    made = [fresh_key()]
    sealer, looks = looking(made)
    blob = sealer.seal("before")
    assert await sealer.opening(lambda: sealer.open(blob)) == "before"
    assert looks == []

    made.append(fresh_key())
    later = Sealer(*made).seal("after")
    assert await sealer.opening(lambda: sealer.open(later)) == "after"
    assert await sealer.opening(lambda: sealer.open(later)) == "after"
    assert looks == [1]
    assert Sealer(made[1]).open(sealer.seal("by the newest")) == "by the newest"


async def test_a_look_that_is_answered_late_makes_no_older_key_seal_again():
    first, second, third = fresh_key(), fresh_key(), fresh_key()
    answers = [asyncio.Event(), asyncio.Event()]
    told = [(second,), (second, third)]

    async def look(_known: int) -> tuple[bytes, ...]:
        answered, keys = answers[len(told) - 1], told.pop()
        await answered.wait()
        return keys

    sealer = Sealer(first, look=look)
    newer = asyncio.create_task(sealer.renew())
    await asyncio.sleep(0)
    older = asyncio.create_task(sealer.renew())
    await asyncio.sleep(0)
    answers[1].set()
    await newer
    answers[0].set()
    await older
    assert Sealer(third).open(sealer.seal("by the newest")) == "by the newest"


async def test_work_that_lets_unreadable_blobs_pass_is_done_again_too():
    made = [fresh_key()]
    sealer, looks = looking(made)
    made.append(fresh_key())
    enclosed = Sealer(*made).enclose("blob")
    assert await sealer.opening(lambda: sealer.enclosed(enclosed)) == "blob"
    assert looks == [1]


async def test_what_is_foreign_is_looked_for_and_refused_what_is_forged_only_refused():
    made = [fresh_key()]
    sealer, looks = looking(made)
    foreign = Sealer(fresh_key()).seal("foreign")
    with pytest.raises(Unreadable, match="unknown key"):
        await sealer.opening(lambda: sealer.open(foreign))
    assert looks == [1]
    for forged in (sealer.seal("x")[:-4], "gAAAAA", ""):
        with pytest.raises(Unreadable):
            await sealer.opening(lambda blob=forged: sealer.open(blob))
    assert looks == [1]


async def test_what_work_refuses_for_other_reasons_is_not_done_again():
    sealer, looks = looking([fresh_key(), fresh_key()])
    with pytest.raises(ZeroDivisionError):
        await sealer.opening(lambda: 1 // 0)
    assert looks == []


def test_keys_are_fresh_and_of_the_size_the_cipher_wants():
    assert len(fresh_key()) == KEY_BYTES == 32
    assert fresh_key() != fresh_key()
