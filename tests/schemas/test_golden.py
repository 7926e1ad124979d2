"""Every version ever written, as it was written: files are added to the folder, never edited."""

from pathlib import Path

import msgspec
import pytest

from schemas import envelope
from schemas.envelope import StoredEvent
from schemas.events import CLASSES
from schemas.upcasters import CURRENT
from services.conversation.state import NEW, evolve
from tests.builders import AT

FOLDER = Path(__file__).parents[1] / "golden" / "events"
FILES = sorted(FOLDER.glob("*.json"))
WRITTEN = [
    pytest.param(path, index, id=f"{path.stem}-{('full', 'minimal')[index]}")
    for path in FILES
    for index in range(2)
]

TODAY = [path for path in FILES if f"v{CURRENT[path.stem.partition('.')[0]]}.json" in path.name]

_rows = msgspec.json.Decoder(tuple[msgspec.Raw, msgspec.Raw])
_event = msgspec.json.Decoder(StoredEvent)


def row(path, index):
    return bytes(_rows.decode(path.read_bytes())[index])


def version_of(path):
    name, _, version = path.stem.rpartition(".v")
    return name, int(version)


def test_every_version_of_every_event_has_its_file():
    expected = {(name, n) for name, current in CURRENT.items() for n in range(1, current + 1)}
    assert {version_of(path) for path in FILES} == expected
    assert set(CURRENT) == set(CLASSES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_named_by_what_it_holds(path):
    for index in range(2):
        stored = _event.decode(row(path, index))
        assert (stored.type, stored.version) == version_of(path)


@pytest.mark.parametrize(("path", "index"), WRITTEN)
def test_what_was_written_is_read_and_written_again_byte_for_byte(path, index):
    written = row(path, index)
    event = envelope.unpack(_event.decode(written))
    assert type(event) is CLASSES[version_of(path)[0]]
    if version_of(path)[1] == CURRENT[version_of(path)[0]]:
        assert msgspec.json.encode(envelope.pack(event)) == written


@pytest.mark.parametrize("path", TODAY, ids=lambda path: path.stem)
def test_the_first_row_of_a_file_has_every_field(path):
    name, _ = version_of(path)
    given = msgspec.json.decode(_event.decode(row(path, 0)).data)
    assert tuple(given) == CLASSES[name].__struct_fields__


@pytest.mark.parametrize("path", TODAY, ids=lambda path: path.stem)
def test_the_second_row_of_a_file_has_only_what_must_be_there(path):
    name, _ = version_of(path)
    given = msgspec.json.decode(_event.decode(row(path, 1)).data)
    required = [field.name for field in msgspec.structs.fields(CLASSES[name]) if field.required]
    assert list(given) == required


@pytest.mark.parametrize(("path", "index"), WRITTEN)
def test_what_was_written_can_be_folded(path, index):
    event = envelope.unpack(_event.decode(row(path, index)))
    assert evolve(NEW, event, at=AT, sequence=1) is not None
