"""Who is asking: the project of a request."""

from starlette.requests import HTTPConnection

from schemas.subjects import DEFAULT_PROJECT


def project_of(_connection: HTTPConnection) -> str:
    """The project whose conversations the caller may touch.

    No API keys are configured: whoever reaches this server, on loopback only, has the one project
    there is.
    """
    return DEFAULT_PROJECT


def demand_admin(_connection: HTTPConnection) -> None:
    """Return if the caller may see every project.

    No API keys are configured: whoever reaches this server, on loopback only, may.
    """
