"""Settings of the gateway."""

import ipaddress
from typing import Literal

from services.settings import WindowSettings


class HostExposed(Exception):
    """Other machines could reach a server that asks nobody for a key."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"--host {host} lets other machines in, and there are no API keys: start it without, "
            "make a key with `turnlog keys create`, and start it so again; or add --insecure"
        )


class GatewaySettings(WindowSettings, frozen=True, kw_only=True):
    """Where it listens, how much it reads, how long it waits."""

    host: str = "127.0.0.1"
    port: int = 8080
    socket_fd: int = -1
    """An inherited listening socket, used instead of host and port; -1: none."""
    body_bytes_max: int = 6 * 1024 * 1024
    """Bytes of a request body; never more than the NATS server takes in one message."""
    bodies_bytes_max: int = 64 * 1024 * 1024
    """Bytes of request bodies held at once: being read, or not yet stored."""
    unread_bytes_max: int = 1024 * 1024
    """Bytes of a running turn that wait for a client who reads slowly."""
    client_wait_s: float = 60.0
    """Seconds in which a client must take, or send, some of what is on its way."""
    turns_in_flight_max: int = 1_000
    """Turns of one project that clients of this process wait for."""
    answer_wait_s: float = 600.0
    """Seconds a client is kept waiting for the end of a plain turn."""
    keep_alive_s: float = 15.0
    """Seconds of silence on a stream after which a comment is sent."""
    insecure: bool = False
    """Whether other machines may come in without an API key, while there are none."""
    delete: Literal["contract", "erase"] = "contract"
    """What it means to delete a conversation: its items answer to no client any more, and stay in
    the log; or it is erased."""
    strict: bool = False
    """Whether parameters nobody knows are refused instead of tolerated."""
    websocket_life_s: float = 3600.0
    """Seconds after which a WebSocket is closed, whatever runs on it."""
    cache_rows_max: int = 200_000
    """Items and turns kept in memory."""

    @property
    def keys_demanded(self) -> bool:
        """Whether nobody may come in without an API key, not even while there are none."""
        return not (self.insecure or is_loopback(self.host))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
