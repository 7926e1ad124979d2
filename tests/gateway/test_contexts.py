from schemas.turn_requests import Context
from services.gateway.contexts import Contexts


def left(number: int) -> bytes:
    return b'{"model":"m%d","items":[]}' % number


def known(contexts: Contexts, count: int) -> list[int]:
    return [n for n in range(count) if contexts.of(f"resp_{n}")]


def test_a_lane_remembers_its_newest_response_only():
    contexts = Contexts(bytes_max=1000)
    contexts.keep(None, "resp_1", left(1))
    contexts.keep("a", "resp_2", left(2))
    contexts.keep(None, "resp_3", left(3))

    assert known(contexts, 5) == [2, 3]
    assert contexts.of("resp_3") == Context(model="m3", items=())
    contexts.forget("a")
    contexts.forget("a")
    assert known(contexts, 5) == [3]
    assert contexts.of(None) is None


def test_the_oldest_are_forgotten_when_there_is_no_room():
    size = len(left(0))
    contexts = Contexts(bytes_max=2 * size + 1)
    for number in range(5):
        contexts.keep(f"{number}", f"resp_{number}", left(number))
    assert known(contexts, 9) == [3, 4]
    contexts.keep("4", "resp_5", left(5) + b" " * size)
    assert known(contexts, 9) == [5]
    contexts.keep("large", "resp_6", left(6) + b" " * 2 * size)
    assert known(contexts, 9) == []
    contexts.keep("small", "resp_7", left(7) + b" " * size)
    assert known(contexts, 9) == [7]
