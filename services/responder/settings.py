"""Settings of the responder."""

from services.settings import WindowSettings


class ResponderSettings(WindowSettings, frozen=True, kw_only=True):
    """How many turns run at once, and when a window has outgrown its budget."""

    turns_running_max: int = 256
    """Turns one process runs at the same time."""
    turn_attempts_max: int = 5
    """Deliveries after which a turn is given up and parked."""
    cache_rows_max: int = 200_000
    """Items and turns kept in memory."""
