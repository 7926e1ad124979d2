"""What the projector can be told."""

from services.settings import Settings


class ProjectorSettings(Settings, frozen=True, kw_only=True):
    """Where the views are kept, and how much of the machine they may take."""

    data_dir: str = "turnlog-data"
    """Directory of the files called ``views…``, which may be deleted while nothing runs."""

    batch_events_max: int = 10_000
    """Commits applied in one transaction while catching up."""
    batch_interval_s: float = 0.08
    """Least seconds between transactions, unless somebody asks for what is not in the views yet."""
    niceness: int = 5
    """How far turns go before views when processors are short; 0: not at all, 19: always."""
    buffer_events_max: int = 30_000
    """Commits held in memory, waiting for a transaction or asked of the log."""
    buffer_bytes_max: int = 64 * 1024 * 1024
    """Payload bytes held in memory above which no more are asked of the log."""

    duckdb_threads: int = 1
    """Threads of one analytic statement, next to the one it is asked on."""
    duckdb_memory_bytes_max: int = 2 * 1024 * 1024 * 1024
    """Memory of the tables' cache and of all statements together; more is spilled to disk. As much
    again while views are built beside those that answer."""
    duckdb_checkpoint_bytes: int = 256 * 1024 * 1024
    """Size of the write-ahead log at which it is merged into the file; writing pauses for that."""

    sql_parallel_max: int = 2
    """Statements run at the same time; others wait."""
    sql_time_s_max: float = 60.0
    """Seconds a statement may take, whatever its asker allows."""
    sql_unending_s: float = 30.0
    """Seconds a statement may go on that was told to end; then the projector begins anew."""
    sql_wait_s_max: float = 30.0
    """Seconds a question may wait for its sequence and for its turn, whatever its asker allows."""
    sql_rows_max: int = 100_000
    """Rows of an answer in JSON, whatever its asker allows. Arrow has no limit but time."""
