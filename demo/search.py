"""Simulated image search: right and wrong candidates for each class name."""

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from demo.images import WEB, Style, draw, encode, pick_suffix
from demo.shapes import CLASSES, OTHERS

# Of the wrong candidates: the share that shows another class, and the share of near things among those found by words.
OF_OTHER_CLASSES, NEAR = 0.4, 0.5
# The share of candidates from search by image, as in the paper; all wrong ones among them resemble the class.
BY_IMAGE = 0.18
FEW = 500  # images below which starting further processes takes longer than drawing


@dataclass(frozen=True)
class Candidate:
    """A line of the retrieval list, the response of the web server, and the truth that only the demo knows.

    shows: a kind of KINDS. near: whether the image resembles the class. planted: the kind of planted problem, or empty.
    original: id of the image of which this is a copy.
    """

    image_id: str
    class_name: str
    shows: str
    body: bytes
    suffix: str = "jpg"
    method: str = "text"
    near: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    planted: str = ""
    original: str = ""

    @property
    def address(self) -> str:
        """Path on the server, without a leading slash."""
        return f"photos/{self.image_id}.{self.suffix}"


Job = tuple[str, tuple[int, ...], Style]  # kind, seed, style


def draw_files(jobs: Sequence[Job]) -> list[tuple[str, bytes]]:
    """Draw images, in parallel if there are at least FEW, and return (suffix, bytes) for each job in order."""
    if len(jobs) < FEW:
        return [_draw_file(job) for job in jobs]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("forkserver")) as pool:
        return list(pool.map(_draw_file, jobs, chunksize=64))


def _draw_file(job: Job) -> tuple[str, bytes]:
    kind, seed, style = job
    suffix = pick_suffix(seed)
    return suffix, encode(draw(kind, seed, style), suffix)


def web_id(*parts: int) -> str:
    """Return an image id of 16 hex digits, as in the published sets."""
    return f"{np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]:016x}"


def search(right: int, wrong: int, seed: int) -> list[Candidate]:
    """Return `right` + `wrong` candidates for each class."""
    rng = np.random.default_rng((seed, 3))
    plans: list[tuple[str, str, str, bool]] = []  # class, shows, method, near
    for name in CLASSES:
        for number in range(right + wrong):
            method = "image" if rng.random() < BY_IMAGE else "text"
            shows = name if number < right else _wrong_kind(name, method, rng)
            plans.append((name, shows, method, shows in _near(name)))
    files = draw_files([(plan[1], (seed, 3, i), WEB) for i, plan in enumerate(plans)])
    return [
        Candidate(web_id(seed, 3, i), name, shows, body, suffix, method, near)
        for i, ((name, shows, method, near), (suffix, body)) in enumerate(zip(plans, files, strict=True))
    ]


def ranked(candidates: Sequence[Candidate], seed: int) -> list[tuple[int, Candidate]]:
    """Give each candidate its rank among those of its class and method, from 0: right ones come earlier, on average."""
    rng = np.random.default_rng((seed, 4))
    keys = [rng.random() - 0.35 * (candidate.shows == candidate.class_name) for candidate in candidates]
    ranks, seen = [], dict[tuple[str, str], int]()
    for i in np.argsort(keys, kind="stable"):
        group = (candidates[i].class_name, candidates[i].method)
        ranks.append((seen.get(group, 0), candidates[i]))
        seen[group] = seen.get(group, 0) + 1
    return ranks


def _near(name: str) -> list[str]:
    return [*CLASSES[name].near, *(other for other, kind in OTHERS.items() if name in kind.near)]


def _wrong_kind(name: str, method: str, rng: np.random.Generator) -> str:
    kinds = list(CLASSES) if rng.random() < OF_OTHER_CLASSES else list(OTHERS)
    near = method == "image" or rng.random() < NEAR
    kinds = [kind for kind in kinds if kind != name and (not near or kind in _near(name))]
    return kinds[int(rng.integers(len(kinds)))]
