"""Where the environment enters: ``TURNLOG_<FIELD>`` becomes a field of a frozen struct.

Every process reads its own struct once, in ``main``. All faults are reported together, before
anything connects. Nothing else reads the environment, and there are no configuration files.
"""

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec

PREFIX = "TURNLOG_"

S = TypeVar("S", bound="Settings")


Replicas = Annotated[int, msgspec.Meta(ge=1, le=5)]


class SettingsError(Exception):
    """One or more settings cannot be used; the message names each with its fault."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every process needs to reach the log."""

    nats_url: str = "nats://127.0.0.1:4222"
    """Servers of the log, with commas between those of a cluster."""
    replicas: Replicas = 1
    """Servers of the cluster that keep each message."""
    log_level: str = "info"
    deltas_age_s: float = 0
    """Seconds for which streams in the background can be replayed word by word; 0: a day, or what
    the stream DELTAS is set to."""
    idempotency_age_s: float = 0
    """Seconds for which an idempotency key stands for its request; 0: a day, or what the stream
    CLAIMS is set to."""
    turns_waiting_max: int = 0
    """Turns that may wait or run, of all conversations; 0: 10,000, or what the stream TURN_REQUESTS
    is set to."""
    conversation_turns_waiting_max: int = 0
    """As `turns_waiting_max`, of one conversation; 0: 1,000."""
    stop_wait_s: float = 4.0
    """Seconds a process may take to finish what it has begun after SIGTERM."""


class ModelSettings(Settings, frozen=True, kw_only=True):
    """What a process needs that calls the model as well."""

    model_url: str = ""
    """Base URL of an OpenAI-compatible server, with its ``/v1``; empty means OpenAI's own."""
    model_key: str = ""
    model_api: Literal["responses", "chat"] = "responses"
    """Which API of the upstream is used."""
    model_wait_s: float = 600.0
    """Seconds without a byte from the model after which a call has failed."""


def read(kind: type[S], environment: Mapping[str, str] | None = None) -> S:
    """Settings of one process; raises `SettingsError` with every fault in one message."""
    given = os.environ if environment is None else environment
    values: dict[str, object] = {}
    faults: list[str] = []
    for field in msgspec.structs.fields(kind):
        name = PREFIX + field.name.upper()
        if name not in given:
            if field.required:
                faults.append(f"{name}: required")
            continue
        try:
            values[field.name] = msgspec.convert(given[name], field.type, strict=False)
        except msgspec.ValidationError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise SettingsError("; ".join(faults))
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error)) from error


def demand(kind: type[S]) -> S:
    """As `read`, for a process that cannot go on without: faults end it with status 2."""
    try:
        return read(kind)
    except SettingsError as error:
        sys.stderr.write(f"turnlog: {error}\n")
        raise SystemExit(2) from error


def environment(settings: msgspec.Struct) -> dict[str, str]:
    """The variables that make another process read equal settings."""
    return {
        PREFIX + name.upper(): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in msgspec.structs.asdict(settings).items()
    }


def inherited() -> dict[str, str]:
    """The environment this process was started with, to hand on to a child."""
    return dict(os.environ)


def override(values: Mapping[str, str]) -> None:
    """Let ``values`` stand in the environment: how an option given on the command line is read."""
    os.environ.update(values)
