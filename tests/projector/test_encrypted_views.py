"""Files of views under a key: nothing of them is readable without it, whatever it is in."""

import base64

import duckdb
import pytest

from services.encryption import Key
from services.projector import file_keys
from services.projector.database import Database, Frozen, ViewsUnusable
from services.projector.settings import ProjectorSettings
from tests.builders import added, message
from tests.projector.builders import Log

SECRET = "correct horse battery staple"
MASTERS = [base64.b64encode(Key.fresh().raw).decode() for _ in range(2)]


def settings(tmp_path, *masters: str, **limits: int):
    return ProjectorSettings(data_dir=str(tmp_path), master_key=",".join(masters), **limits)


def key_of(given):
    return file_keys.given(given)[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "views.1.duckdb"


def filled(path, given):
    log = Log()
    for number in range(50):
        log.commit("conv_1", added(message(f"msg_{number}", f"{SECRET} {number}")))
    database = Database(path, given, key_of(given))
    database.apply(log.messages, log="log")
    return database


def everything(directory):
    return b"".join(each.read_bytes() for each in directory.rglob("*") if each.is_file())


def items(cursor):
    return cursor.execute("SELECT count(*), count(DISTINCT item) FROM items").fetchone()


def test_nothing_is_readable_while_it_is_open_nor_afterwards(path, tmp_path):
    given = settings(tmp_path, MASTERS[0])
    database = filled(path, given)
    assert items(database.cursor()) == (50, 50)
    assert path.with_name("views.1.duckdb.wal").exists()
    assert SECRET.encode() not in everything(tmp_path)
    database.close()
    assert not path.with_name("views.1.duckdb.wal").exists()
    assert SECRET.encode() not in everything(tmp_path)
    again = Database(path, given, key_of(given))
    assert (items(again.cursor()), again.sequence) == ((50, 50), 50)
    again.close()


def test_what_a_statement_spills_is_not_readable(path, tmp_path):
    given = settings(tmp_path, MASTERS[0], duckdb_memory_bytes_max=64 * 1024 * 1024)
    database = Database(path, given, key_of(given))
    cursor = database.cursor()
    # Sorted, but only begun to be read: what does not fit into memory is in files.
    cursor.execute(
        f"SELECT '{SECRET}' || md5(i::VARCHAR) || i AS text FROM range(1500000) r(i) ORDER BY text"
    )
    cursor.fetchmany(1)
    spilled = list(tmp_path.rglob("duckdb_temp*"))
    assert sum(each.stat().st_size for each in spilled) > 0
    assert SECRET[:12].encode() not in everything(tmp_path)
    cursor.close()
    database.close()


def test_another_key_opens_nothing_nor_does_none(path, tmp_path):
    filled(path, settings(tmp_path, MASTERS[0])).close()
    for given in (settings(tmp_path, MASTERS[1]), settings(tmp_path)):
        with pytest.raises(ViewsUnusable):
            Database(path, given, key_of(given))
    with pytest.raises(duckdb.Error):
        duckdb.connect(str(path))


@pytest.mark.parametrize("before", [(MASTERS[1],), ()], ids=["another key", "no key"])
def test_what_was_written_before_answers_until_it_is_replaced(path, tmp_path, before):
    filled(path, settings(tmp_path, *before)).close()
    given = settings(tmp_path, *MASTERS)
    with pytest.raises(ViewsUnusable):
        Database(path, given, key_of(given))
    frozen = Frozen(path, given, file_keys.given(given))
    assert (items(frozen.cursor()), frozen.sequence) == ((50, 50), 50)
    assert frozen.key != key_of(given)
    frozen.close()


def test_nobody_is_told_the_key_nor_can_reach_other_files(path, tmp_path):
    given = settings(tmp_path, MASTERS[0])
    database = filled(path, given)
    cursor = database.cursor()
    told = str(cursor.execute("SELECT * FROM duckdb_databases()").fetchall())
    told += str(cursor.execute("SELECT * FROM duckdb_settings()").fetchall())
    assert key_of(given) not in told
    for statement in (
        f"SELECT * FROM read_text('{path}')",
        f"ATTACH '{tmp_path}/other.duckdb'",
        "SET enable_external_access = true",
        "SET temp_file_encryption = false",
    ):
        with pytest.raises(duckdb.Error):
            cursor.execute(statement)
    database.close()
