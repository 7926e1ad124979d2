"""Settings of the gateway."""

import ipaddress

from services.settings import WindowSettings


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
    strict: bool = False
    """Whether parameters nobody knows are refused instead of tolerated."""
    websocket_life_s: float = 3600.0
    """Seconds after which a WebSocket is closed, whatever runs on it."""
    cache_rows_max: int = 200_000
    """Items and turns kept in memory."""

    def __post_init__(self) -> None:
        """No API keys are configured: only this machine may come in."""
        if self.socket_fd < 0 and not _loopback(self.host):
            raise ValueError(
                f"TURNLOG_HOST: {self.host} lets other machines in and no API keys are "
                "configured: only loopback is allowed, 127.0.0.1"
            )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
