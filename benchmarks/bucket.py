"""Build and verify from a bucket to a bucket, and compare every byte with a local build.

    pip install 'moto[server]' s3fs
    python -m benchmarks.bucket

Starts a local S3 server (moto), uploads the small set of the tests, and runs build and verify on s3://. Prints the seconds
of each, most of which the emulator takes.
"""

import hashlib
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from pipeline.__main__ import main as pipeline
from tests.pipeline.small_world import write_world

BUCKET = "bucket"
OPTIONS = [
    "--set",
    "noise.levels=[0, 0.5]",
    "--set",
    "noise.colors=[red, blue]",
    "--set",
    "shards.max_rows=4096",
]


def build(config: Path | str, source: Path | str, output: Path | str) -> float:
    start = time.monotonic()
    command = ["build", "--config", str(config), "--set", f"source={source}", "--output", str(output)]
    if code := pipeline([*command, *OPTIONS, "--direct_num_workers=1"]):
        sys.exit(code)
    return time.monotonic() - start


def main() -> None:
    """Compare a build in a bucket (S3 by moto) with one on the local disk: seconds, and equal bytes."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    with tempfile.TemporaryDirectory() as folder:
        world = write_world(Path(folder) / "set")
        for path in world.folder.rglob("*"):
            if path.is_file():
                s3.upload_file(str(path), BUCKET, f"set/{path.relative_to(world.folder)}")
        local = build(world.config, world.folder, Path(folder) / "out")
        source = f"s3://{BUCKET}/set"
        remote = build(f"{source}/build.yaml", source, f"s3://{BUCKET}/out")
        start = time.monotonic()
        if code := pipeline(["verify", f"s3://{BUCKET}/out/dataset"]):
            sys.exit(code)
        verified = time.monotonic() - start
        again = build(f"{source}/build.yaml", source, f"s3://{BUCKET}/out")
        shards = sorted((Path(folder) / "out" / "dataset").rglob("*.parquet"))
        for path in shards:
            key = str(path.relative_to(folder))
            stored = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            if hashlib.sha256(stored).digest() != hashlib.sha256(path.read_bytes()).digest():
                sys.exit(f"{key}: the bytes in the bucket differ from the local ones")
    left = [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"] if ".writing-" in o["Key"]]
    print(
        f"\n{len(shards)} shards have the same bytes in the bucket and locally; {len(left)} temporary objects are left"
    )
    print(
        f"local build {local:.1f} s, in the bucket {remote:.1f} s, repeated {again:.1f} s, verify {verified:.1f} s"
    )
    server.stop()


if __name__ == "__main__":
    main()
