"""Logging: one JSON line per event on standard error, never any content, prompt or key."""

import logging
import sys

import msgspec
import stamina.instrumentation
import structlog

_encode = msgspec.json.Encoder(enc_hook=str).encode


def _render(_logger: object, _method: str, event: structlog.typing.EventDict) -> bytes:
    return _encode(event)


def configure(*, process: str, level: str) -> None:
    """Send this process's log lines, and those of its libraries, to standard error as JSON."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda logger, method, event: _render(logger, method, event).decode(),
            ],
        )
    )
    # Whoever retries says so himself, once; while the log is away that is everybody, all the time.
    stamina.instrumentation.set_on_retry_hooks(())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak at warning: a line per request or message is ours to write, once.
    root.setLevel(max(number, logging.WARNING))
