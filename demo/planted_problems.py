"""Planted problems that are common on the web: copies of other images, and rows without a usable image."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from demo.images import encode
from demo.search import Candidate, web_id

# Planted fault → expected rejection code.
FAULTS = {
    "gone": "not_found",
    "forbidden": "http_status",
    "web page": "not_an_image",
    "cut off": "truncated",
    "no bytes": "empty",
    "TIFF": "bad_format",
    "one pixel": "too_small",
    "unknown class": "unknown_class",
    "repeated row": "duplicate_row",
}
COPIES = ("copy of web", "near web", "near clean", "near test")


def faults(candidates: Sequence[Candidate], each: int, seed: int) -> list[Candidate]:
    """Return `each` faulty candidates of every kind in FAULTS, derived from some of `candidates`."""
    rng = np.random.default_rng((seed, 5))
    chosen = iter(rng.choice(len(candidates), each * len(FAULTS), replace=False))
    faulty = []
    for kind in FAULTS:
        for _ in range(each):
            number = int(next(chosen))
            model = candidates[number]
            candidate = replace(model, image_id=web_id(seed, 5, number), planted=kind)
            faulty.append(_broken(candidate, model))
    return faulty


def _broken(candidate: Candidate, model: Candidate) -> Candidate:
    match candidate.planted:
        case "gone":
            return replace(
                candidate, body=b"not here any more", status=404, headers={"Content-Type": "text/plain"}
            )
        case "forbidden":
            return replace(
                candidate, body=b"no hotlinking", status=403, headers={"Content-Type": "text/plain"}
            )
        case "web page":
            page = b"<!DOCTYPE html><html><body>Sign in to see this picture</body></html>"
            return replace(candidate, body=page, headers={"Content-Type": "text/html"})
        case "cut off":
            whole = encode(_open(candidate.body), "jpg")
            return replace(candidate, body=whole[: len(whole) // 2], suffix="jpg")
        case "no bytes":
            return replace(candidate, body=b"")
        case "TIFF":
            buffer = io.BytesIO()
            _open(candidate.body).save(buffer, "TIFF")
            return replace(candidate, body=buffer.getvalue(), suffix="jpg")
        case "one pixel":
            return replace(candidate, body=encode(_open(candidate.body).resize((1, 1)), "png"), suffix="png")
        case "unknown class":
            return replace(candidate, class_name=f"{candidate.class_name}s")
        case _:  # an exact repetition of the row
            return replace(model, planted="repeated row")


def copies(
    candidates: Sequence[Candidate], clean: Mapping[str, tuple[str, bytes]], test: Mapping[str, tuple[str, bytes]],
    each: int, seed: int,
) -> list[Candidate]:  # fmt: skip
    """Return `each` copies of every kind in COPIES.

    `clean` and `test` map image ids to (class name, file bytes). Near copies are resized, re-encoded and slightly
    brightened, as websites do with images.
    """
    rng = np.random.default_rng((seed, 6))
    copied = []
    for index, kind in enumerate(COPIES):
        pool = {"near clean": clean, "near test": test}.get(kind)
        if pool is None:
            models = [candidates[i] for i in rng.choice(len(candidates), each, replace=False)]
        else:
            ids = sorted(pool)
            some = [ids[i] for i in rng.choice(len(ids), each, replace=False)]
            models = [Candidate(one, pool[one][0], pool[one][0], pool[one][1]) for one in some]
        for number, model in enumerate(models):
            body = model.body if kind == "copy of web" else _re_encode(model.body, rng)
            suffix = model.suffix if kind == "copy of web" else "jpg"
            fresh = web_id(seed, 6, index, number)
            copied.append(
                replace(
                    model, image_id=fresh, body=body, suffix=suffix, planted=kind, original=model.image_id
                )
            )
    return copied


def _re_encode(body: bytes, rng: np.random.Generator) -> bytes:
    image = _open(body)
    scale = rng.uniform(0.8, 1.6)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    bright = rng.uniform(0.94, 1.06)
    return encode(image.point(lambda value: value * bright), "jpg", quality=int(rng.integers(60, 85)))


def _open(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body)).convert("RGB")


def originals(folder: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, bytes]]:
    """Return (class name, file bytes) by image id for the rows of a list with paths."""
    return {row["image_id"]: (row["class_name"], (folder / row["path"]).read_bytes()) for row in rows}
