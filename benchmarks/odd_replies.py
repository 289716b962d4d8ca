"""Compare which odd replies of web servers our client and five others accept: the table of docs/results/odd-replies.md.

    python -m benchmarks.odd_replies

A server on loopback sends the replies of tests/pipeline/fetch/odd_replies.py. A client accepts a reply if it returns the
decompressed body, or the body as sent if the client does not decompress (urllib, curl). Clients that are not installed
are omitted.
"""

import importlib.util
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from pipeline.config import FetchConfig
from pipeline.fetch.fetch_all import FetchPlan, fetch_all
from pipeline.fetch.host_limits import HostLimits
from pipeline.fetch.journal import Journal
from pipeline.fetch.url_fetcher import FetchRequest
from pipeline.ingest_config import IngestConfig
from tests.pipeline.fetch.odd_replies import BODY, REPLIES, serving

SECONDS = 3
MAX_BYTES = 10_000_000


def by_urllib(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=SECONDS) as response:
        return response.read(MAX_BYTES)


def by_requests(url: str) -> bytes:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=SECONDS).content


def by_httpx(url: str) -> bytes:
    import httpx

    with httpx.Client(timeout=SECONDS, trust_env=False) as client:
        return client.get(url).content


def by_aiohttp(url: str) -> bytes:
    import asyncio

    import aiohttp

    async def get() -> bytes:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SECONDS)) as session,
            session.get(url) as response,
        ):
            return await response.read()

    return asyncio.run(get())


def by_curl(url: str) -> bytes:
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(SECONDS), url]
    return subprocess.run(command, capture_output=True, check=True).stdout


def by_ours(url: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        config = FetchConfig(
            contact="bench@example.org", allow_private_hosts=True, host_requests_per_second=0, max_attempts=1
        )
        journal = Journal(folder, "1", "")
        outcome = fetch_all(
            [FetchRequest(url)],
            FetchPlan(config, IngestConfig().max_bytes, HostLimits.from_config(config)),
            journal,
        )
        journal.close()
        (row,) = outcome.tables()[0].to_pylist()
        if row["code"]:
            raise ValueError(row["code"])
        data = (Path(folder) / row["body_file"]).read_bytes()
        return data[row["offset"] : row["offset"] + row["length"]]


CLIENTS: dict[str, Callable[[str], bytes]] = {
    "urllib": by_urllib,
    "requests": by_requests,
    "httpx": by_httpx,
    "curl": by_curl,
    "aiohttp": by_aiohttp,
    "ours": by_ours,
}


def accepts(client: Callable[[str], bytes], url: str, sent: bytes) -> bool:
    try:
        body = client(url)
    except Exception:
        return False
    is_compressed = b"\r\nContent-Encoding:" in sent and BODY not in sent and client in (by_urllib, by_curl)
    return body == BODY or (is_compressed and sent.endswith(body) and bool(body))


def main() -> None:
    """Print the table."""
    clients = {
        name: client
        for name, client in CLIENTS.items()
        if (
            shutil.which(name)
            if name == "curl"
            else name in ("urllib", "ours") or importlib.util.find_spec(name)
        )
    }
    print(f"| reply | {' | '.join(clients)} |\n|---|{'|'.join(':-:' for _ in clients)}|")
    counts = dict.fromkeys(clients, 0)
    all_peers = ours_of_them = 0
    with serving() as urls:
        for name, url in urls.items():
            accepted = {peer: accepts(client, url, REPLIES[name][0]) for peer, client in clients.items()}
            for peer, is_accepted in accepted.items():
                counts[peer] += is_accepted
            if all(yes for peer, yes in accepted.items() if peer not in ("ours", "aiohttp")):
                all_peers += 1
                ours_of_them += accepted["ours"]
            print(
                f"| {name} | {' | '.join('yes' if is_accepted else '–' for is_accepted in accepted.values())} |"
            )
    print(f"| **of {len(REPLIES)}** | {' | '.join(f'**{count}**' for count in counts.values())} |")
    print(
        f"\nAccepted by all of urllib, requests, httpx and curl: {all_peers}, of these by ours: {ours_of_them}"
    )


if __name__ == "__main__":
    main()
