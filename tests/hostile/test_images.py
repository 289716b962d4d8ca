"""Hostile and odd files: each becomes the picture or the rejection that it must, within bounded memory and time."""

import io
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest.decode import decode
from pipeline.ingest.normalize import encode, normalize
from pipeline.rejections import Rejected
from tests.hostile.images import CASES, PICTURE, plain, saved
from tests.pipeline.ingest.conftest import FORMATS

CONFIG = IngestConfig(size=16)


def outcome(data: bytes) -> tuple[str, tuple[int, int], bool]:
    """What becomes of a file, all the way to the stored picture: code or PICTURE, size of the file, animated."""
    try:
        decoded = decode(data, CONFIG)
    except Rejected as rejected:
        return rejected.code, (0, 0), False
    stored = encode(normalize(decoded, CONFIG), CONFIG)
    with Image.open(io.BytesIO(stored)) as opened:
        assert (opened.size, opened.mode) == ((16, 16), "RGB")
    return PICTURE, (decoded.width, decoded.height), decoded.animated


@pytest.mark.parametrize("name", CASES)
def test_every_file_ends_as_it_must(name: str) -> None:
    case = CASES[name]
    if case.expected == PICTURE:
        assert outcome(case.make()) == (PICTURE, case.size, case.animated)
    else:
        assert outcome(case.make())[0] == case.expected


MEASURE = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from tests.hostile.images import CASES
from tests.hostile.test_images import outcome
from pathlib import Path

files = sorted(Path(sys.argv[2]).iterdir())
before = resource.getrusage(resource.RUSAGE_SELF)
for file in files:
    outcome(file.read_bytes())
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_maxrss - before.ru_maxrss)
"""


def test_all_of_them_cost_little_memory_and_time(tmp_path: Path) -> None:
    """A process that meets them all grows by less than 150 MB, and is killed if it computes for a minute."""
    for i, case in enumerate(CASES.values()):
        (tmp_path / f"{i:03d}").write_bytes(case.make())
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, root, str(tmp_path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150_000  # kB


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_may_end_anywhere(kind: str) -> None:
    data = saved(kind)
    for end in range(0, len(data), max(1, len(data) // 60)):
        code = outcome(data[:end])[0]
        # Without its end mark a PNG or a GIF still has all its pixels.
        assert code in ("truncated", "not_an_image", "bad_format") or end > len(data) - 20


STARTS = [saved(kind) for kind in FORMATS] + [
    saved("JPEG", progressive=True),
    saved("JPEG", plain().convert("CMYK")),
    saved("PNG", plain().convert("P")),
    saved("PNG", Image.fromarray(np.arange(768, dtype=np.uint16).reshape(24, 32) * 80)),
    saved("GIF", save_all=True, append_images=[plain().rotate(90)]),
    saved("WEBP", lossless=True),
]
CODES = {"truncated", "not_an_image", "bad_format", "too_many_pixels", "too_small"}


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.sampled_from(STARTS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=5),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=2),
)
def test_no_damage_makes_anything_but_a_picture_or_a_rejection(
    data: bytes, changes: list[tuple[float, bytes]], moves: list[tuple[float, float, float]]
) -> None:
    damaged = bytearray(data)
    for place, new in changes:
        at = int(place**2 * len(damaged))  # headers are the more telling part
        damaged[at : at + len(new)] = new
    for first, last, to in moves:  # parts that are repeated elsewhere
        low, high = sorted((int(first * len(damaged)), int(last * len(damaged))))
        damaged[int(to * len(damaged)) : 0] = damaged[low:high]
    assert outcome(bytes(damaged))[0] in CODES | {PICTURE}
