"""Says in a few bytes what is in the views, so that two databases can be compared."""

import duckdb

BOOKKEEPING = "projection"

_TABLES = f"""
SELECT table_name FROM duckdb_tables()
WHERE NOT internal AND NOT temporary AND table_name <> '{BOOKKEEPING}'
ORDER BY table_name
"""  # noqa: S608 - a constant


def digest(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Per table its number of rows and a hash of them, whatever their order; and the sequence.

    Equal for two databases made from the same log up to the same sequence, however delivered.
    """
    found = {}
    for (table,) in connection.execute(_TABLES).fetchall():
        row = connection.execute(
            f"""
            SELECT count(*), coalesce(sum(md5_number_lower(line)), 0),
                coalesce(sum(md5_number_upper(line)), 0)
            FROM (SELECT to_json({table})::VARCHAR AS line FROM {table})
            """  # noqa: S608 - the name is the catalogue's
        ).fetchone()
        assert row is not None
        found[table] = ":".join(str(number) for number in row)
    stands = connection.execute(f"SELECT sequence FROM {BOOKKEEPING}").fetchone()  # noqa: S608 - constant
    assert stands is not None
    return {**found, "sequence": str(stands[0])}
