"""Every NATS name this product uses. No other module spells one."""

CONVERSATIONS = "CONVERSATIONS"
"""Stream of commits, the truth: file, limits retention, direct get, synced before it is acked."""
TURN_REQUESTS = "TURN_REQUESTS"
"""Stream of accepted turn requests: a work queue."""
DELTAS = "DELTAS"
"""Stream of what running turns say, bounded by age and bytes."""
PARKED = "PARKED"
"""Stream of messages that failed for good, with their reason."""
PARKED_FROM_HEADER = "Turnlog-Subject"
"""Header of a parked message: the subject it was on."""
REPEATS = "REPEATS"
"""Stream of marks by which a request that a client sends again is known, for a few minutes."""
CLAIMS = "CLAIMS"
"""Stream of idempotency keys, each with what its request came to."""
ENCRYPTION_KEYS = "ENCRYPTION_KEYS"
"""Stream of the keys that content is encrypted with, each wrapped by the one above it."""
KEYS = "turnlog_keys"
"""Key-value bucket of content keys."""
KEYS_STREAM = f"KV_{KEYS}"
"""The stream NATS makes of that bucket."""
API_KEYS = "turnlog_api_keys"
"""Key-value bucket of API keys: their hashes, by id."""
API_KEYS_STREAM = f"KV_{API_KEYS}"
"""The stream NATS makes of that bucket."""
ALL_API_KEYS = f"$KV.{API_KEYS}.*"
SIGNING_KEY_NAME = "signing.1"
"""Name in that bucket of the key exports are signed with."""

ALL_CONTENT_KEYS = f"$KV.{KEYS}.content.*"
ALL_CONVERSATIONS = "conversation.>"
ANY = "*"
"""Stands for any one name in a subject that is only listened to."""
ALL_TURN_REQUESTS = "turn_request.>"
ALL_UNSTORED_TURN_REQUESTS = "turn_request_unstored.*"
ALL_DELTAS = "delta.>"
ALL_PARKED = "parked.>"
ALL_REPEATS = "repeat.>"
ALL_CLAIMS = "claim.>"
ALL_PROJECT_KEYS = "project_key.*"
ALL_CONVERSATION_KEYS = "conversation_key.*.*"
ALL_CANCELS = "cancel.*.*"
ALL_CANCELS_WAITING = "cancel_waiting.*.*"
ALL_ERASED = "erased.*.*"
ALL_RUNNING = "running.*.*"
ALL_LEFT = "left.*.*"
ALL_WAITED_FOR = "waited_for.*.*"

RESPONDER = "responder"
"""Durable consumer of TURN_REQUESTS and queue group of unstored turn requests."""
COMPACTOR = "compactor"
"""Durable consumer of CONVERSATIONS, headers only, and queue group of windows to compact."""
COMPACTOR_DELIVERY = "deliver.compactor"
"""Subject on which that consumer delivers, unless an older release has made it."""

PROJECTOR = "projector"
"""Queue group of questions to the views."""

DEFAULT_PROJECT = "default"
"""Project of every caller while no API keys are configured."""


def conversation(project: str, conversation_id: str) -> str:
    """Subject of one conversation's commits; literal, since only literal subjects read fast."""
    return f"conversation.{project}.{conversation_id}"


def conversation_parts(subject: str) -> tuple[str, str]:
    """Project and conversation id of a commit's subject."""
    _, project, conversation_id = subject.split(".")
    return project, conversation_id


def turn_request(project: str, conversation_id: str) -> str:
    """Subject of a turn request that must outlive every process."""
    return f"turn_request.{project}.{conversation_id}"


def turn_request_parts(subject: str) -> tuple[str, str]:
    """Project and conversation id of a turn request's subject."""
    _, project, conversation_id = subject.split(".")
    return project, conversation_id


def turn_request_unstored(project: str) -> str:
    """Subject of a turn request that may touch no disk; captured by no stream."""
    return f"turn_request_unstored.{project}"


def turn_request_unstored_project(subject: str) -> str:
    """Project of the subject of a turn request that is not stored."""
    return subject.split(".")[1]


def delta(project: str, response_id: str) -> str:
    """Subject on which a turn's refusal, admission, deltas and end arrive."""
    return f"delta.{project}.{response_id}"


def delta_unstored(project: str, response_id: str) -> str:
    """As `delta`, for turns of which nothing may be kept; captured by no stream."""
    return f"delta_unstored.{project}.{response_id}"


def cancel(project: str, response_id: str) -> str:
    """Subject on which whoever runs a turn is asked to end it; captured by no stream."""
    return f"cancel.{project}.{response_id}"


def cancel_waiting(project: str, response_id: str) -> str:
    """Subject on which any responder is asked to end a turn that waits; captured by no stream."""
    return f"cancel_waiting.{project}.{response_id}"


def running(project: str, response_id: str) -> str:
    """Subject on which whoever runs a turn that is not stored says that it does."""
    return f"running.{project}.{response_id}"


def running_parts(subject: str) -> tuple[str, str]:
    """Project and response id of such a question's subject."""
    _, project, response_id = subject.split(".")
    return project, response_id


def waited_for(project: str, response_id: str) -> str:
    """Subject on which whoever runs a turn is told that another waits; captured by no stream."""
    return f"waited_for.{project}.{response_id}"


def waited_for_parts(subject: str) -> tuple[str, str]:
    """Project and response id of the turn that is waited for."""
    _, project, response_id = subject.split(".")
    return project, response_id


def left(project: str, conversation_id: str) -> str:
    """Subject on which a responder that stops leaves those who wait for a conversation to another.

    Captured by no stream.
    """
    return f"left.{project}.{conversation_id}"


def left_parts(subject: str) -> tuple[str, str]:
    """Project and conversation id of a conversation that was left."""
    _, project, conversation_id = subject.split(".")
    return project, conversation_id


def cancel_parts(subject: str) -> tuple[str, str]:
    """Project and response id of a cancel's subject."""
    _, project, response_id = subject.split(".")
    return project, response_id


def erased(project: str, conversation_id: str) -> str:
    """Subject on which all processes are told to forget a conversation; captured by no stream."""
    return f"erased.{project}.{conversation_id}"


def erased_parts(subject: str) -> tuple[str, str]:
    """Project and conversation id of a conversation that was erased."""
    _, project, conversation_id = subject.split(".")
    return project, conversation_id


def parked(stream: str, reason: str) -> str:
    """Subject of a message of ``stream`` given up for ``reason`` (a written word)."""
    return f"parked.{stream}.{reason}"


def parked_parts(subject: str) -> tuple[str, str]:
    """Stream and reason of a parked message's subject."""
    _, stream, reason = subject.split(".", 2)
    return stream, reason


def repeat(project: str, digest: str) -> str:
    """Subject of the mark of a request, by the digest of what it is."""
    return f"repeat.{project}.{digest}"


def content_key_name(number: int) -> str:
    """Name of a content key in its bucket."""
    return f"content.{number}"


def kept_key(name: str) -> str:
    """Subject of what the bucket holds under a name, in its stream."""
    return f"$KV.{KEYS}.{name}"


def content_key_number(subject: str) -> int:
    """Number of the content key of a subject."""
    return int(subject.rpartition(".")[2])


def api_key(key_id: str) -> str:
    """Subject of an API key's record in the stream of their bucket."""
    return f"$KV.{API_KEYS}.{key_id}"


def api_key_id(subject: str) -> str:
    """Id of the API key whose record is kept on this subject."""
    return subject.rpartition(".")[2]


def claim(project: str, key_digest: str) -> str:
    """Subject of an idempotency key, by its digest: keys may hold what subjects may not."""
    return f"claim.{project}.{key_digest}"


def project_key(project: str) -> str:
    """Subject of a project's key, wrapped by the master key."""
    return f"project_key.{project}"


def project_key_project(subject: str) -> str:
    """Project of the subject of a project's key."""
    return subject.split(".")[1]


def conversation_key(project: str, conversation_id: str) -> str:
    """Subject of a conversation's key, wrapped by that of its project; empty: destroyed."""
    return f"conversation_key.{project}.{conversation_id}"


def ask(question: str) -> str:
    """Request/reply subject of a question to the read side."""
    return f"ask.{question}"


def ask_health(process: str) -> str:
    """Request/reply subject on which a process says whether it can serve."""
    return f"ask.health.{process}"
