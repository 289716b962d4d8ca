"""What the local web servers share: the listener, the check of host names, and the headers of every response."""

import errno
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from common.errors import UsageError

LOOPBACK = "127.0.0.1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 means any free port. Raises UsageError if the port is in use."""
    try:
        family = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        is_unknown = isinstance(error, socket.gaierror)
        if is_unknown or (isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL):
            raise UsageError(f"--host {host}: {error}; give a name or an address of this machine") from error
        raise UsageError(f"--port {port}: {error}; choose another port, or 0 for any free port") from error


def serve(app: web.Application, listener: socket.socket) -> None:
    """Serve an application until interrupted. Requests are not logged."""
    web.run_app(app, sock=listener, print=lambda _: None, access_log=None)


def response_headers(csp: str) -> dict[str, str]:
    """Return the headers that every response gets, for a Content-Security-Policy."""
    return {
        "Content-Security-Policy": f"{csp}; frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def loopback_hosts(port: int) -> Callable[[str], bool]:
    """Return the test of the Host header for a server on LOOPBACK."""
    return {f"{LOOPBACK}:{port}", f"localhost:{port}"}.__contains__


def network_hosts(host: str, port: int) -> Callable[[str], bool]:
    """Return the test of the Host header for a server on `host`: its name, names of this machine, and any address.

    DNS rebinding needs a name, so addresses are safe.
    """
    machine = socket.gethostname().lower()
    names = {host.lower(), "localhost", machine, f"{machine}.local"}

    def is_known(value: str) -> bool:
        name, _, given_port = value.lower().rpartition(":")
        return given_port == str(port) and (name in names or _is_address(name))

    return is_known


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def guard(is_known_host: Callable[[str], bool], headers: Mapping[str, str]) -> Any:
    """Return the middleware that refuses other values of the Host header and adds `headers` to all responses.

    Refusing other host names prevents DNS rebinding. A header that a handler has set stays.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not is_known_host(hosts[0]):
            response: web.StreamResponse = web.Response(status=421, text="Wrong host name.\n")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                text = f"{error.reason}\n"
                response = web.Response(status=error.status, text=text, headers=_kept(error))
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return middleware


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
