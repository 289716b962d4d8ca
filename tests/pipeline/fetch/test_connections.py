"""Connections: private addresses, names that resolve differently, and TLS certificates."""

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.fetch import connections
from pipeline.fetch.connections import RESOLVER_THREADS
from pipeline.fetch.journal import Journal
from pipeline.rejections import Rejected
from tests.pipeline.fetch.conftest import Get, Request, Web, body, refused

# Addresses


def test_a_private_host_is_not_even_connected_to(get: Get, web: Web) -> None:
    result = refused(get(web.serve("/a", b"secret"), allow_private_hosts=False))
    assert (result.code, "127.0.0.1 is not a public address" in result.detail) == ("private_address", True)
    assert web.asked == []


@pytest.mark.usefixtures("as_public")
@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/meta-data/", "http://[::ffff:127.0.0.1]/", "http://[::1]/", "http://10.0.0.1/",
        "http://[::ffff:a9fe:a9fe]/", "http://0x7f.1.1.1/", "http://100.64.0.1/", "http://224.0.0.1/",
        "http://[64:ff9b::a9fe:a9fe]/", "http://inside.test/",
    ],
)  # fmt: skip
def test_a_redirect_to_a_private_address_is_refused(
    get: Get, web: Web, names: dict[str, list[str]], to: str
) -> None:
    names["inside.test"] = ["192.168.0.1"]
    result = refused(get(web.redirect("/a", to), allow_private_hosts=False))
    assert (result.code, web.asked) == ("private_address", ["/a"])


@pytest.mark.usefixtures("as_public")
def test_dns_rebinding_is_rejected(get: Get, web: Web, names: dict[str, list[str]]) -> None:
    """The address that was checked is the one that is connected to: there is no second look-up in between."""
    port = web.address.rsplit(":", 1)[1]
    web.serve("/a", b"picture")
    names["rebinding.test"] = ["127.0.0.1", "10.0.0.1"]
    assert body(get(f"http://rebinding.test:{port}/a", allow_private_hosts=False)) == b"picture"
    assert names["rebinding.test"] == ["10.0.0.1"]
    result = refused(get(f"http://rebinding.test:{port}/b", allow_private_hosts=False))
    assert result.code == "private_address"


def test_an_unknown_host_has_its_own_code(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> list:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert refused(get("http://images.test/a.jpg")).code == "unknown_host"
    assert refused(get(f"http://{'x' * 70}.test/a.jpg")).code in ("unknown_host", "bad_location")


def test_unresponsive_name_servers_do_not_make_other_hosts_time_out(
    get: Get, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While every resolver thread waits for a name server, the time limits of other hosts do not run."""
    real, servers = socket.getaddrinfo, threading.Event()
    port = web.address.rsplit(":", 1)[1]
    urls = [f"http://dead{i}.test:{port}/a" for i in range(RESOLVER_THREADS)]
    urls += [web.serve("/a", b"picture").replace("127.0.0.1", f"live{i}.test") for i in range(2)]
    timed_out = []

    def resolve(host: str | bytes, *rest: object, **more: object) -> list:
        name = host.decode() if isinstance(host, bytes) else host
        if name.startswith("dead"):
            servers.wait(20)
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return real("127.0.0.1" if name.startswith("live") else name, *rest, **more)  # type: ignore[arg-type]

    def put_failure(journal: Journal, url: str, rejected: Rejected) -> dict:
        timed_out.append((url, rejected.code))
        if len(timed_out) == RESOLVER_THREADS:
            servers.set()
        return recorded(journal, url, rejected)

    recorded = Journal.put_failure
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(Journal, "put_failure", put_failure)
    actual = get.all(urls, robots_txt=False, opt_outs=False, concurrency=64, timeout_seconds=1.0)
    assert {refused(result).code for result in actual[:-2]} == {"timeout"}
    assert [body(result) for result in actual[-2:]] == [b"picture"] * 2


def test_a_lookup_that_fails_while_a_request_waits_for_its_host_is_tried_again(
    get: Get, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def resolve(host: str | bytes, port: int, *_: object, **__: object) -> list[tuple]:
        asked.append(host)
        if len(asked) == 2:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def stall(request: Request) -> None:
        time.sleep(0.3)
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(connections, "NAME_SECONDS", -1.0)  # every request looks its host up
    urls = [web.raw(f"/{i}", stall).replace("127.0.0.1", "a.test") for i in range(3)]
    results = get.all(urls, robots_txt=False, opt_outs=False, host_concurrency=1)
    assert [body(result) for result in results] == [b"x"] * 3


def test_a_closed_port_is_a_failed_connection(get: Get) -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        result = refused(get(f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    assert (result.code, result.stats and result.stats.attempts) == ("connection_failed", 1)


# TLS


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], int]]:
    """Starts a server whose certificate is for good.test, and perhaps trusts it; gives its port."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.test")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - day, now + day
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("good.test")]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path == "/robots.txt" else 200)
            self.end_headers()
            self.wfile.write(b"picture")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()

    def start(trusted: bool) -> int:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        return server.server_port

    yield start
    server.shutdown()
    server.server_close()


def test_tls_is_verified_against_the_name_of_the_host(
    get: Get, secure: Callable[[bool], int], names: dict[str, list[str]]
) -> None:
    names["good.test"] = names["other.test"] = ["127.0.0.1"]
    port = secure(False)
    assert refused(get(f"https://good.test:{port}/self-signed")).code == "tls_failed"
    port = secure(True)
    assert body(get(f"https://good.test:{port}/a")) == b"picture"
    assert refused(get(f"https://other.test:{port}/a")).code == "tls_failed"
    assert refused(get(f"https://127.0.0.1:{port}/a")).code == "tls_failed"


def test_a_server_without_tls_and_a_bad_certificate_have_different_details(get: Get, web: Web) -> None:
    result = refused(get(web.serve("/a", b"x").replace("http:", "https:")))
    assert result.code in ("tls_failed", "connection_failed")
