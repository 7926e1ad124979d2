"""Where the environment enters: ``TURNLOG_<FIELD>`` becomes a field of a frozen struct.

Every process reads its own struct once, in ``main``. All faults are reported together, before
anything connects. Nothing else reads the environment, and there are no configuration files.
"""

import os
import ssl
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from services.conversation.budget import Policy
from services.conversation.limits import Limits, Models, Tokens

PREFIX = "TURNLOG_"

S = TypeVar("S", bound="Settings")


Replicas = Annotated[int, msgspec.Meta(ge=1, le=5)]


class SettingsError(Exception):
    """One or more settings cannot be used; the message names each with its fault."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every process needs to reach the log."""

    nats_url: str = "nats://127.0.0.1:4222"
    """Servers of the log, with commas between those of a cluster."""
    nats_ca: str = ""
    """File of the authorities whose servers of the log are trusted; TLS is spoken then."""
    nats_cert: str = ""
    """File of the certificate that this process shows them, and its chain."""
    nats_key: str = ""
    """File of its key, unless that is in the same."""
    replicas: Replicas = 1
    """Servers of the cluster that keep each message."""
    log_level: str = "info"
    master_key: str = ""
    """Key of 32 bytes in Base64 that content is encrypted under, from then on; commas between
    several, of which the first encrypts and all decrypt."""
    master_key_command: str = ""
    """Command that prints the same, run at the start of each process."""
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

    def tls(self) -> ssl.SSLContext | None:
        """How the log is to be spoken to; raises `SettingsError` for files that cannot be used."""
        if not (self.nats_ca or self.nats_cert):
            return None
        try:
            context = ssl.create_default_context(cafile=self.nats_ca or None)
        except OSError as error:
            raise SettingsError(f"{PREFIX}NATS_CA: {error.strerror or error}") from error
        if self.nats_cert:
            try:
                context.load_cert_chain(self.nats_cert, self.nats_key or None)
            except OSError as error:
                raise SettingsError(f"{PREFIX}NATS_CERT: {error.strerror or error}") from error
        return context

    def __repr__(self) -> str:
        """Nothing of what they are: some are keys, and whatever is shown may be logged."""
        return type(self).__name__

    @property
    def encrypts(self) -> bool:
        """Whether there is a master key."""
        return bool(self.master_key or self.master_key_command)


class ModelSettings(Settings, frozen=True, kw_only=True):
    """What a process needs that calls the model as well."""

    model_url: str = ""
    """Base URL of an OpenAI-compatible server, with its ``/v1``; empty means OpenAI's own."""
    model_key: str = ""
    model_api: Literal["responses", "chat"] = "responses"
    """Which API of the upstream is used."""
    model_wait_s: float = 600.0
    """Seconds without a byte from the model after which a call has failed."""
    compaction_method: Literal["summary", "extractive", "upstream"] = "summary"
    """How windows are made smaller: by the model's words, without a model, or by the upstream's own
    ``/responses/compact``."""
    compaction_wait_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 60.0
    """Seconds a summary may take; then one is made without the model."""
    compaction_shrink_share: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.2
    """Least share of its tokens by which a compaction that nobody asked for shrinks a window."""

    def __post_init__(self) -> None:
        if self.compaction_method == "upstream" and self.model_api == "chat":
            raise ValueError(
                f"{PREFIX}COMPACTION_METHOD: the chat API has no compaction of its own, so that "
                "'upstream' needs TURNLOG_MODEL_API=responses"
            )


class WindowSettings(ModelSettings, frozen=True, kw_only=True):
    """What a process needs that decides how much a model is sent."""

    tokens_budget: Tokens = 100_000
    """Tokens of a window above which it is compacted; 0: never."""
    project_budgets: dict[str, Tokens] = {}
    """The same for single projects: ``project=tokens, project=tokens``."""
    models: dict[str, Limits] = {}
    """What models take, where that is not known or not so: ``name=window/output/encoding``, commas
    between them; ``*`` at the end of a name stands for the rest, and window 0 for no limit."""

    @property
    def policy(self) -> Policy:
        """These as the rules ask for them."""
        return Policy(
            tokens_budget=self.tokens_budget,
            project_budgets=self.project_budgets,
            models=Models(self.models),
        )


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
            values[field.name] = _value(given[name], field.type)
        except (msgspec.ValidationError, ValueError) as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise SettingsError("; ".join(faults))
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error)) from error


def _value(text: str, kind: Any) -> Any:
    if get_origin(kind) is dict:
        return _table(text, get_args(kind)[1])
    return msgspec.convert(text, kind, strict=False)


def _table(text: str, kind: Any) -> dict[str, Any]:
    """``name=value`` with commas between; slashes between the parts of a value."""
    found: dict[str, Any] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, equals, value = (part.strip() for part in entry.rpartition("="))
        if not (name and equals and value):
            raise ValueError(f"'{entry}' is not of the form name=value")
        if name in found:
            raise ValueError(f"{name}: named twice")
        parts = [part.strip() for part in value.split("/")]
        given = parts if _has_parts(kind) else value
        try:
            found[name] = msgspec.convert(given, kind, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


def _has_parts(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def demand(kind: type[S]) -> S:
    """As `read`, for a process that cannot go on without: faults end it with status 2."""
    try:
        found = read(kind)
        found.tls()
    except SettingsError as error:
        sys.stderr.write(f"turnlog: {error}\n")
        raise SystemExit(2) from error
    return found


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
