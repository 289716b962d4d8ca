"""Missing, unreachable and unresponsive services of a runner are reported within seconds."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest

from common.errors import UsageError
from pipeline.running import endpoints
from pipeline.running.endpoints import check_endpoints, split_address
from pipeline.running.options import beam_options


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(endpoints, "ANSWER_SECONDS", 0.3)


@pytest.fixture
def dead():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def deaf():
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def web():
    with HTTPServer(
        ("127.0.0.1", 0), type("Silent", (BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"  # answers every request with 501
        server.shutdown()


@pytest.fixture
def rpc():
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


FLAGS = [
    ("--runner=PortableRunner", "--job_endpoint"), ("--runner=FlinkRunner", "--job_endpoint"),
    ("--runner=PrismRunner", "--artifact_endpoint"), ("--runner=FlinkRunner", "--flink_master"),
    ("--runner=SparkRunner", "--spark_rest_url"),
]  # fmt: skip


@pytest.mark.parametrize(("runner", "flag"), FLAGS)
@pytest.mark.parametrize("kind", ["dead", "deaf"])
def test_a_service_that_does_not_answer_is_a_usage_error(request, runner, flag, kind):
    address = request.getfixturevalue(kind)
    job_server = ["--job_endpoint=embed"] if runner == "--runner=PortableRunner" else []
    with pytest.raises(UsageError, match=f"{flag} {address}: no answer within"):
        check_endpoints(beam_options([runner, *job_server, f"{flag}={address}"]))


def test_a_job_server_must_speak_grpc_and_a_cluster_http(web, rpc):
    with pytest.raises(UsageError, match="no answer within"):
        check_endpoints(beam_options(["--runner=portable", f"--job_endpoint={web}"]))
    check_endpoints(beam_options(["--runner=portable", f"--job_endpoint={rpc}"]))
    with pytest.raises(UsageError, match="no answer within"):
        check_endpoints(beam_options(["--runner=flink", f"--flink_master={rpc}"]))
    check_endpoints(beam_options(["--runner=flink", f"--flink_master=http://{web}"]))
    check_endpoints(beam_options(["--runner=spark", f"--spark_rest_url=http://{web}"]))


def test_an_ipv6_address_reaches_its_job_server(monkeypatch):
    asked = []
    channel = grpc.insecure_channel
    monkeypatch.setattr(grpc, "insecure_channel", lambda target: asked.append(target) or channel(target))
    with pytest.raises(UsageError, match="no answer within"):
        check_endpoints(beam_options(["--runner=portable", "--job_endpoint=[::1]:1"]))
    assert asked == ["[::1]:1"]


def test_a_spark_master_is_connected_to(dead, deaf):
    with pytest.raises(UsageError, match="--spark_master_url"):
        check_endpoints(beam_options(["--runner=spark", f"--spark_master_url=spark://{dead}"]))
    check_endpoints(
        beam_options(["--runner=spark", f"--spark_master_url=spark://{deaf}"])
    )  # a protocol of its own


def test_a_portable_runner_needs_a_job_server():
    with pytest.raises(UsageError, match="add --job_endpoint HOST:PORT"):
        check_endpoints(beam_options(["--runner=PortableRunner"]))
    check_endpoints(beam_options(["--runner=PortableRunner", "--job_endpoint=embed"]))


@pytest.mark.parametrize("address", ["localhost", "localhost:http", "http://[::1", ":80"])
def test_an_invalid_url_is_reported(address):
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        check_endpoints(beam_options(["--runner=PortableRunner", f"--job_endpoint={address}"]))


@pytest.mark.parametrize(
    "flags",
    [[], ["--runner=flink"], ["--runner=spark"], ["--runner=prism"], ["--runner=direct", "--job_endpoint=x"]],
)
def test_runners_that_start_what_they_need_need_nothing(flags):
    check_endpoints(beam_options(flags))


def test_addresses_are_split():
    assert split_address(" host:8081 ") == ("http", "host", 8081)
    assert split_address("https://host") == ("https", "host", 443)
    assert split_address("spark://host:7077") == ("spark", "host", 7077)
    assert split_address("[auto]")[1:] == (None, None)
