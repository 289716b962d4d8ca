"""Drawing of synthetic images: one object among clutter on a background, each from its own seed."""

import colorsys
import io
import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from demo.shapes import KINDS, OUTLINES, TEXTURES, Plane

# Pillow's name, share of files
ENCODINGS = {"jpg": ("JPEG", 0.8), "png": ("PNG", 0.1), "webp": ("WEBP", 0.1)}


@dataclass(frozen=True)
class Style:
    """Difficulty of the images.

    clutter: maximum number of small objects behind the main one, and twice the maximum in front. hue_bias: share of
    objects in their typical color. contrast: minimum brightness difference between object and background. noise: maximum
    standard deviation of the grain, in [0, 1]. size: minimum and maximum radius as a share of half the image.
    rotation: maximum, in radians.
    """

    clutter: int
    hue_bias: float
    contrast: float
    noise: float
    size: tuple[float, float]
    rotation: float


def _color(rng: np.random.Generator, hue: float | None, value: float) -> np.ndarray:
    hue = rng.random() if hue is None else hue + rng.normal(0, 0.05)
    return np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.25, 0.95), value), np.float32)


def _paint(canvas: np.ndarray, pose: tuple[float, float, float, float], paint: tuple) -> None:
    """Draw one object on `canvas` (height, width, 3); `pose` is (center x, center y, size, angle)."""
    outline, texture, first, second = paint
    center_x, center_y, size, angle = pose
    height, width = canvas.shape[:2]
    half = min(height, width) / 2
    # Compute only the square around the object, because most objects are small.
    reach = half * size * 1.15
    across, down = half * center_x + (width - 1) / 2, half * center_y + (height - 1) / 2
    left, top = max(int(across - reach), 0), max(int(down - reach), 0)
    right, bottom = min(int(across + reach) + 2, width), min(int(down + reach) + 2, height)
    if left >= right or top >= bottom:
        return
    x = (np.arange(left, right, dtype=np.float32) - across)[None, :] / (half * size)
    y = (np.arange(top, bottom, dtype=np.float32) - down)[:, None] / (half * size)
    u = x * math.cos(angle) + y * math.sin(angle)
    v = y * math.cos(angle) - x * math.sin(angle)
    inside = np.clip(0.5 - OUTLINES[outline](u, v) * (half * size), 0, 1)[..., None]
    mixed = np.clip(0.5 + TEXTURES[texture](u, v) * 2.5, 0, 1)[..., None]
    part = canvas[top:bottom, left:right]
    part += inside * (first * (1 - mixed) + second * mixed - part)


def _background(rng: np.random.Generator, x: Plane, y: Plane, value: float) -> np.ndarray:
    """Return a gradient between two colors with a soft wave or stripes: (height, width, 3)."""
    first, second = _color(rng, None, value), _color(rng, None, np.clip(value + rng.normal(0, 0.15), 0, 1))
    angle, pace = rng.uniform(0, 2 * np.pi), float(rng.choice([0.8, 2.0, 6.0, 11.0]))
    along = math.cos(angle) * x + math.sin(angle) * y
    wave = 0.5 + 0.5 * np.sin(pace * along + rng.uniform(0, 6))
    strength = 1.0 if pace < 3 else 0.35
    return first + (second - first) * (strength * wave)[..., None]


def draw(kind: str, seed: tuple[int, ...], style: Style) -> Image.Image:
    """Draw one image of `kind` (a key of KINDS), 48 to 88 pixels per side, deterministically from `seed`."""
    rng = np.random.default_rng(seed)
    thing = KINDS[kind]
    side = int(rng.integers(48, 89))
    width, height = (
        (side, side) if rng.random() < 0.6 else (side, int(np.clip(side * rng.uniform(0.75, 1.33), 48, 88)))
    )
    short = min(width, height)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (2 * x - width + 1) / short, (2 * y - height + 1) / short

    value = rng.uniform(0.15, 0.9)
    canvas = _background(rng, x, y, value)
    # The object is darker or lighter than the background, and its texture differs from both.
    gap = rng.uniform(style.contrast, 0.5)
    bright = (
        value + gap if value + gap < 1 and (rng.random() < 0.5 or value < gap) else max(value - gap, 0.02)
    )
    first = _color(rng, thing.hue if rng.random() < style.hue_bias else None, bright)
    second = _color(rng, None, float(np.clip(1 - bright + rng.normal(0, 0.15), 0, 1)))
    size = rng.uniform(*style.size)
    reach = max(0.0, 1.05 - size)
    pose = (*rng.uniform(-reach, reach, 2), size, rng.uniform(-style.rotation, style.rotation))

    before = rng.integers(0, style.clutter + 1)
    after = rng.integers(0, style.clutter // 2 + 1)
    for layer in range(before + 1 + after):
        if layer == before:
            _paint(canvas, pose, (thing.outline, thing.texture, first, second))
            continue
        small = rng.uniform(0.08, 0.26)
        outline = list(OUTLINES)[int(rng.integers(len(OUTLINES) - 1))]
        texture = list(TEXTURES)[int(rng.integers(len(TEXTURES)))]
        colors = _color(rng, None, rng.uniform(0.1, 1)), _color(rng, None, rng.uniform(0.1, 1))
        small_pose = (*rng.uniform(-1, 1, 2), small, rng.uniform(0, 6.3))
        _paint(canvas, small_pose, (outline, texture, *colors))
    grain = rng.standard_normal(canvas.shape, dtype=np.float32)
    canvas += grain * np.float32(style.noise * rng.random())
    return Image.fromarray((np.clip(canvas, 0, 1) * 255).astype(np.uint8))


def encode(image: Image.Image, suffix: str, quality: int = 88) -> bytes:
    """Return an image as the bytes of a `jpg`, `png` or `webp` file."""
    buffer = io.BytesIO()
    image.save(buffer, ENCODINGS[suffix][0], **({} if suffix == "png" else {"quality": quality}))
    return buffer.getvalue()


def pick_suffix(seed: tuple[int, ...]) -> str:
    """Return the file format of the image with this seed."""
    shares = [share for _, share in ENCODINGS.values()]
    return str(np.random.default_rng((*seed, 1)).choice(list(ENCODINGS), p=shares))


CLEAN = Style(clutter=3, hue_bias=0.75, contrast=0.25, noise=0.04, size=(0.65, 0.95), rotation=0.4)
WEB = replace(CLEAN, clutter=4)  # web images have more clutter
