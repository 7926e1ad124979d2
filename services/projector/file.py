"""How a file of views is opened: bounded, closed to the outside, and decrypted if it is encrypted.

DuckDB opens an encrypted file only beside a database in memory: each connection has to be told that
it is the file that is meant. Its own cryptography counts as insecure to it, since the randomness
that its nonces are made of is not of the best; the one that counts as secure is an extension, which
may not be fetched here. Rows, the write-ahead log and what statements spill are ciphertext either
way (AES-256-GCM), and a file that is lost is made anew.
"""

from pathlib import Path

import duckdb

from services.projector.file_keys import PLAIN, FileKey
from services.projector.settings import ProjectorSettings

_NAME = "views"
"""What an encrypted file is attached as."""


def connect(path: Path, settings: ProjectorSettings, key: FileKey) -> duckdb.DuckDBPyConnection:
    """The connection that writes; raises `duckdb.Error`, also if the file is under another key."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": settings.duckdb_threads,
        "memory_limit": f"{settings.duckdb_memory_bytes_max}B",
        "checkpoint_threshold": f"{settings.duckdb_checkpoint_bytes}B",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "temp_directory": f"{path}.tmp",
    }
    where = str(path) if key is PLAIN else f":memory:{path}"
    connection = duckdb.connect(where, config=config)
    try:
        _close_up(connection, path, key)
    except duckdb.Error:
        connection.close()
        raise
    return connection


def cursor(connection: duckdb.DuckDBPyConnection, key: FileKey) -> duckdb.DuckDBPyConnection:
    """Another connection to the same tables."""
    other = connection.cursor()
    if key is not PLAIN:
        other.execute(f"USE {_NAME}")
    return other


def _close_up(connection: duckdb.DuckDBPyConnection, path: Path, key: FileKey) -> None:
    (locked,) = connection.execute("SELECT current_setting('lock_configuration')").fetchone() or ()
    if not locked:
        # Statements that still run on a file it was closed for keep it open, and as it was.
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        if key is not PLAIN:
            connection.execute("SET GLOBAL temp_file_encryption = true")
            connection.execute("SET GLOBAL force_mbedtls_unsafe = true")
            file = str(path).replace("'", "''")
            connection.execute(f"ATTACH '{file}' AS {_NAME} (ENCRYPTION_KEY '{key}')")
        # Statements of analysts reach neither files, nor networks, nor our variables.
        connection.execute("SET GLOBAL enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    if key is not PLAIN:
        connection.execute(f"USE {_NAME}")
