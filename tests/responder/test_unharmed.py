"""What is known of turns that end elsewhere does not grow for ever."""

from services.responder.unharmed import Unharmed

FIRST, SECOND, THIRD = (("default", f"resp_{number}") for number in range(3))


def test_of_the_turns_left_last_it_is_known_how_often():
    unharmed = Unharmed(known_max=2)
    for key in (FIRST, SECOND, FIRST, THIRD):
        unharmed.add(key)
    assert [unharmed.of(key) for key in (FIRST, SECOND, THIRD)] == [2, 0, 1]


def test_nothing_is_kept_of_a_turn_that_was_only_asked_about():
    unharmed = Unharmed()
    assert unharmed.of(FIRST) == 0
    unharmed.add(FIRST)
    unharmed.forget(FIRST)
    unharmed.forget(SECOND)
    assert unharmed.of(FIRST) == 0
    assert not unharmed._counts
