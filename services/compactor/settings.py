"""Settings of the compactor."""

from services.settings import WindowSettings


class CompactorSettings(WindowSettings, frozen=True, kw_only=True):
    """What a window may hold, and who summarises."""

    compaction_model: str = ""
    """Model that summarises; empty: the one that answered the conversation's last turn."""
    niceness: int = 5
    """How far turns go before compactions when processors are short; 0: not at all."""
    cache_rows_max: int = 50_000
    """Items and turns kept in memory."""
