"""Master keys as the settings give them: themselves, or by the command that prints them."""

import shlex
import subprocess

from services.encryption import Masters
from services.settings import PREFIX, Settings, SettingsError

COMMAND_S_MAX = 30.0
"""Seconds the command may take."""


def given(settings: Settings) -> Masters | None:
    """The master keys, if there are any; raises `SettingsError`, which never quotes one."""
    if settings.master_key and settings.master_key_command:
        raise SettingsError(f"{PREFIX}MASTER_KEY: there is {PREFIX}MASTER_KEY_COMMAND as well")
    if settings.master_key_command:
        return _read(_printed(settings.master_key_command), "MASTER_KEY_COMMAND")
    if settings.master_key:
        return _read(settings.master_key, "MASTER_KEY")
    return None


def _read(text: str, name: str) -> Masters:
    try:
        return Masters.read(text)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name}: {error}") from None


def _printed(command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command
            shlex.split(command), stdout=subprocess.PIPE, timeout=COMMAND_S_MAX, check=True
        )
        return done.stdout.decode().strip()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # Its output may be half a key.
        raise SettingsError(
            f"{PREFIX}MASTER_KEY_COMMAND: it printed no key ({type(error).__name__})"
        ) from None
