import msgspec
from hypothesis import given, note
from hypothesis import strategies as st

from services.conversation.line import Line
from tests.builders import PROPERTY


class Row(msgspec.Struct, frozen=True):
    id: str
    value: int


def line_of(*rows: Row):
    return Line().extended(rows)


def seen(line):
    """Everything a line can tell."""
    keys = [f"k{number}" for number in range(30)]
    return {
        "rows": line.between(0, len(line)),
        "length": len(line),
        "down": list(line.downwards(len(line) - 1)),
        "up": list(line.upwards(0)),
        "positions": {key: line.position(key) for key in keys},
        "got": {key: line.get(key) for key in keys},
    }


def expected(rows):
    """The same of a plain tuple."""
    keys = [f"k{number}" for number in range(30)]
    positions = {row.id: index for index, row in enumerate(rows)}
    return {
        "rows": list(rows),
        "length": len(rows),
        "down": list(reversed(rows)),
        "up": list(rows),
        "positions": {key: positions.get(key) for key in keys},
        "got": {key: rows[positions[key]] if key in positions else None for key in keys},
    }


def branching(data, *, new_key):
    """Versions grown from any earlier version, beside plain tuples of the same rows."""
    versions = [(Line(), ())]
    number = 0
    for _ in range(data.draw(st.integers(0, 12), label="steps")):
        line, rows = versions[data.draw(st.integers(0, len(versions) - 1), label="from")]
        more = []
        for _ in range(data.draw(st.integers(0, 3), label="rows")):
            number += 1
            more.append(Row(new_key(number), number))
        note(f"{len(rows)} + {[row.id for row in more]}")
        versions.append((line.extended(tuple(more)), (*rows, *more)))
    return versions


@PROPERTY
@given(st.data())
def test_every_version_stays_what_it_was_whatever_grows_from_it(data):
    for line, rows in branching(data, new_key=lambda number: f"k{number}"):
        assert seen(line) == expected(rows)


@PROPERTY
@given(st.data())
def test_every_version_finds_its_own_newest_row_of_an_id_that_comes_twice(data):
    keys = st.integers(0, 4)

    def any_key(_number):
        return f"k{data.draw(keys, label='key')}"

    for line, rows in branching(data, new_key=any_key):
        assert seen(line) == expected(rows)


@PROPERTY
@given(st.integers(0, 6), st.integers(-2, 9), st.integers(0, 9))
def test_walks_start_where_they_are_told(length, start, end):
    rows = tuple(Row(f"k{number}", number) for number in range(length))
    line = line_of(*rows)
    assert list(line.upwards(start)) == [row for row in rows if row.value >= start]
    assert list(line.downwards(start)) == [row for row in reversed(rows) if row.value <= start]
    assert line.between(max(start, 0), end) == list(rows[max(start, 0) : end])


def test_lines_are_equal_by_their_rows():
    one, two = Row("a", 1), Row("b", 2)
    grown = line_of(one).extended((two,))
    assert grown == line_of(one, two)
    assert line_of(one) != grown
    assert line_of(one) != (one,)
    assert repr(line_of(one)) == f"Line([{one!r}])"


def test_growing_by_nothing_is_the_same_line():
    line = line_of(Row("a", 1))
    assert line.extended(()) is line


def test_the_newest_version_grows_in_place_and_an_older_one_does_not_disturb_it():
    base = line_of(Row("a", 1))
    newest = base.extended((Row("b", 2),))
    branch = base.extended((Row("c", 3),))
    assert [row.id for row in newest.between(0, 9)] == ["a", "b"]
    assert [row.id for row in branch.between(0, 9)] == ["a", "c"]
    assert (base.position("b"), base.position("c"), newest.position("c")) == (None, None, None)
