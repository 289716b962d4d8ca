"""Check within seconds that the services named by a runner's flags answer; Beam would wait minutes."""

import http.client
import socket
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
)

from common.errors import UsageError
from pipeline.running.options import LOCAL_FLINK, is_portable, runner_name

ANSWER_SECONDS = 5.0
EMBEDDED = "embed"  # Beam's name for a job server in this process


def check_endpoints(options: PipelineOptions) -> None:
    """Raise UsageError if a job server or cluster is not given or does not answer within ANSWER_SECONDS."""
    portable, name = options.view_as(PortableOptions), runner_name(options)
    if name == "portable" and not portable.job_endpoint:
        raise UsageError(
            "PortableRunner: no job server is given; add --job_endpoint HOST:PORT, or use a runner that starts one, "
            "such as --runner FlinkRunner"
        )
    if not is_portable(options):
        return
    for flag in ("job_endpoint", "artifact_endpoint"):
        address = getattr(portable, flag)
        if address and address != EMBEDDED:
            _check(f"--{flag}", address, _answers_grpc)
    master = options.view_as(FlinkRunnerOptions).flink_master
    if name == "flink" and master.strip() not in LOCAL_FLINK:
        _check("--flink_master", master, _answers_http)
    spark = options.view_as(SparkRunnerOptions)
    if name == "spark" and spark.spark_rest_url:
        _check("--spark_rest_url", spark.spark_rest_url, _answers_http)
    if name == "spark" and spark.spark_master_url.startswith("spark://"):
        _check("--spark_master_url", spark.spark_master_url, _accepts)


def _check(flag: str, address: str, ask: Callable[[str, str, int], None]) -> None:
    scheme, host, port = split_address(address)
    if not host or not port:
        raise UsageError(f"{flag} {address}: expected HOST:PORT; correct the address")
    try:
        ask(scheme, host, port)
    except (OSError, http.client.HTTPException, grpc.FutureTimeoutError) as error:
        reason = f" ({error})" if str(error) else ""
        raise UsageError(
            f"{flag} {address}: no answer within {ANSWER_SECONDS:.0f} s{reason}; start the service, or correct the address"
        ) from error


def split_address(address: str) -> tuple[str, str | None, int | None]:
    """Return scheme (default: http), host and port of an address such as HOST:PORT; None for missing parts."""
    text = address.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        default_port = {"https": 443, "http": 80}.get(parts.scheme) if "://" in text else None
        return parts.scheme, parts.hostname, parts.port or default_port
    except ValueError:  # for example [auto], or a port that is not a number
        return "http", None, None


def _answers_grpc(_scheme: str, host: str, port: int) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"  # urlsplit strips the brackets of IPv6
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)


def _answers_http(scheme: str, host: str, port: int) -> None:
    connect = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    with closing(connect(host, port, timeout=ANSWER_SECONDS)) as connection:
        connection.request("GET", "/")
        connection.getresponse()  # any status is an answer


def _accepts(_scheme: str, host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=ANSWER_SECONDS):
        pass
