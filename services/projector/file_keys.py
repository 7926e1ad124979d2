"""The keys that files of views are encrypted with, by DuckDB: derived from the master keys.

The first master key's encrypts. A file under another one, or under none, answers as it stands until
one that is built anew has taken its place, as after a release with other views: so master keys are
changed over, and encryption is turned on, without a rewrite of anything that could not be deleted.
"""

from services import master_keys
from services.settings import Settings

PURPOSE = "views"
PLAIN = None
"""Key of a file that is not encrypted."""

FileKey = str | None


def given(settings: Settings) -> tuple[FileKey, ...]:
    """The key of what is written, then those of what may be there; raises `SettingsError`."""
    masters = master_keys.given(settings)
    if masters is None:
        return (PLAIN,)
    return (*(master.derived(PURPOSE).hex() for master in masters.all), PLAIN)
