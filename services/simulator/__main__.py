"""``python -m services.simulator``, which is ``turnlog simulator``."""

import logging
import signal
import socket

import click
import structlog
import uvicorn

from services import telemetry
from services.simulator.app import build
from services.simulator.connection import Connection
from services.simulator.directives import HELP

BACKLOG = 2_048
STOP_WAIT_S = 2
"""Seconds that answers under way are given after SIGTERM."""

log = structlog.get_logger()

EPILOG = f"""{HELP}
\b
Examples:
  python -m services.simulator --port 9000
  turnlog simulator --port 9000
  turnlog up --model-url http://127.0.0.1:9000/v1
"""


@click.command(epilog=EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
def main(host: str, port: int) -> None:
    """Run a model that needs no key and no network.

    It serves /v1/responses, /v1/chat/completions and /v1/models, and tells at
    /simulator/requests what it was sent, whether each answer has ended, and
    whether its client left before that; an answer ordered to wait at a gate
    does until POST /simulator/gates/NAME. Its answers are a function of their
    whole request, so a lost piece of history shows. A tool is called or used when
    the last message has its name as a word (a hosted one's type or server_label)
    or tool_choice says so; a structured answer fits its schema; instructions that
    begin with Summarise get a summary, Answer each question an answer to each
    numbered line; the models nope and unknown-… do not
    exist, simulator-reasoning shows its reasoning, simulator-1000 takes so many
    tokens and no more, and summaries by simulator-forgetful lose some details.
    """
    telemetry.configure(process="simulator", level="info")
    # uvicorn calls a connection cut by [[drop]] an error; real ones are logged by the app.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    # uvicorn raises the signal again after it has stopped, for whoever had it before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # socket.create_server adds the address to the reason, in parentheses.
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise click.ClickException(f"cannot listen on {host}:{port}: {reason}") from error
    name = f"[{host}]" if family == socket.AF_INET6 else host
    log.info("simulator.started", url=f"http://{name}:{listener.getsockname()[1]}/v1")
    config = uvicorn.Config(
        build(),
        http=Connection,
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_WAIT_S,
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main(prog_name="python -m services.simulator")
