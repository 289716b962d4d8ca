"""What the local web servers share: the listener, the check of host names, and the headers of every response."""

import errno
import ipaddress
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from common.errors import DataError, UsageError
from common.terminal import visible_lines

LOOPBACK = "127.0.0.1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 means any free port. Raises UsageError if the port is in use."""
    try:
        family = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:  # names are encoded as in IDNA
        is_unknown = isinstance(error, socket.gaierror | UnicodeError)
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
    known = {f"{LOOPBACK}:{port}", f"localhost:{port}"}
    return lambda value: _with_port(value, port) in known


def network_hosts(host: str, port: int) -> Callable[[str], bool]:
    """Return the test of the Host header for a server on `host`: its name, names of this machine, and any address.

    DNS rebinding needs a name, so addresses are safe.
    """
    machine = socket.gethostname().lower()
    names = {host.lower(), "localhost", machine, f"{machine}.local"}

    def is_known(value: str) -> bool:
        name, _, given_port = _with_port(value.lower(), port).rpartition(":")
        return given_port == str(port) and (name in names or _is_address(name))

    return is_known


def _with_port(value: str, port: int) -> str:
    """Return a Host header with its port, which browsers omit if it is 80."""
    return f"{value}:80" if port == 80 and not re.search(r":\d+$", value) else value


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def guard(is_known_host: Callable[[str], bool], headers: Mapping[str, str]) -> Any:
    """Return the middleware that refuses other values of the Host header and adds `headers` to all responses.

    Refusing other host names prevents DNS rebinding. A header that a handler has set stays. A build that cannot be read,
    for example because it was rebuilt, gives status 503.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not is_known_host(hosts[0]):
            response: web.StreamResponse = web.Response(status=421, text=_wrong_host(hosts))
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                text = f"{error.reason}\n"
                response = web.Response(status=error.status, text=text, headers=_kept(error))
            except DataError as error:
                print(f"error: {visible_lines(str(error))}", file=sys.stderr, flush=True)
                text = "The build has changed or cannot be read; the command that serves this page must be restarted.\n"
                response = web.Response(status=503, text=text)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return middleware


def _wrong_host(hosts: list[str]) -> str:
    given = repr(hosts[0][:100]) if hosts else "(none)"
    return (
        f"Host name {given} is not one of this server; open the address that the command has printed. Through a tunnel, "
        "use the same port on both ends.\n"
    )


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
