"""Refuses requests to a host name that is not ours, which a web page could have pointed at this machine."""

import ipaddress
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from forecast.serving.problems import Problem
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def own_names(settings: Settings) -> frozenset[str]:
    """The names by which the API may be called, beside IP addresses."""
    return frozenset(
        name.lower() for name in ("localhost", settings.bind_host, settings.api_host, *settings.api_allowed_hosts)
    )


def is_ours(header: str, names: frozenset[str]) -> bool:
    """Whether a Host header names us: by one of the names, or by an address, which no other site can take over.

    >>> [is_ours(header, frozenset(("api",))) for header in ("api:5050", "127.0.0.1:5050", "[::1]", "evil.org:5050")]
    [True, True, True, False]
    """
    host = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
    host = host.removeprefix("[").removesuffix("]").lower()
    if host in names:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class HostCheck:
    """WSGI middleware before everything else; a request without a Host header comes from no browser and passes."""

    def __init__(self, application: "WSGIApplication", names: frozenset[str]) -> None:
        self._application = application
        self._names = names

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """One WSGI request."""
        header = environ.get("HTTP_HOST")
        if header is None or is_ours(header, self._names):
            return self._application(environ, start_response)
        detail = f"{header[:100]!r} is no name of this API: add it to API_ALLOWED_HOSTS in .env, or call it by address"
        return Problem(HTTPStatus.MISDIRECTED_REQUEST, "unknown-host", detail).response()(environ, start_response)
