"""Hostile and odd files give the expected image or rejection, in bounded memory and time."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.hostile.image_case import IMAGE, plain, saved
from tests.hostile.images import CASES, outcome
from tests.pipeline.ingest.conftest import FORMATS


@pytest.mark.parametrize("name", CASES)
def test_each_file_gives_the_expected_image_or_rejection(name: str) -> None:
    case = CASES[name]
    if case.expected == IMAGE:
        assert outcome(case.make()) == (IMAGE, case.size, case.animated)
    else:
        assert outcome(case.make())[0] == case.expected


MEASURE = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from tests.hostile.images import CASES, outcome
from pathlib import Path

files = sorted(Path(sys.argv[2]).iterdir())
before = resource.getrusage(resource.RUSAGE_SELF)
for file in files:
    outcome(file.read_bytes())
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_maxrss - before.ru_maxrss)
"""


def test_all_files_take_bounded_memory_and_time(tmp_path: Path) -> None:
    """A process that decodes all files grows by less than 150 MB and takes less than a minute of CPU time."""
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
def test_files_cut_anywhere_give_an_image_or_a_rejection(kind: str) -> None:
    data = saved(kind)
    for end in range(0, len(data), max(1, len(data) // 60)):
        code = outcome(data[:end])[0]
        # A PNG or GIF without its end marker still has all pixels.
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
        at = int(place**2 * len(damaged))  # more often in headers
        damaged[at : at + len(new)] = new
    for first, last, to in moves:  # parts that are copied elsewhere
        low, high = sorted((int(first * len(damaged)), int(last * len(damaged))))
        damaged[int(to * len(damaged)) : 0] = damaged[low:high]
    assert outcome(bytes(damaged))[0] in CODES | {IMAGE}
