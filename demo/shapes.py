"""Outlines and textures as functions of position, and the classes that combine them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Plane = np.ndarray  # float32 (height, width)


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    hue: typical hue in [0, 1). near: classes that it resembles.
    """

    outline: str
    texture: str
    hue: float
    near: tuple[str, ...]


CLASSES: dict[str, Kind] = {
    "ball": Kind("disk", "stripes", 0.02, ("ladybird", "target")),
    "ladybird": Kind("disk", "dots", 0.00, ("ball", "button")),
    "target": Kind("disk", "rings", 0.05, ("ball", "button")),
    "button": Kind("ring", "plain", 0.60, ("target", "moon")),
    "chessboard": Kind("square", "checks", 0.10, ("gift", "kite")),
    "gift": Kind("square", "cross", 0.95, ("chessboard", "kite")),
    "kite": Kind("diamond", "stripes", 0.35, ("gift", "tent")),
    "tent": Kind("triangle", "stripes", 0.30, ("kite", "star")),
    "star": Kind("star", "plain", 0.14, ("flower", "tent")),
    "flower": Kind("petals", "plain", 0.85, ("star", "moon")),
}

# Further search results: objects of no class, each similar to some classes.
OTHERS: dict[str, Kind] = {
    "moon": Kind("crescent", "plain", 0.15, ("button", "star")),
    "coin": Kind("disk", "plain", 0.12, ("button", "ball", "ladybird")),
    "fish": Kind("ellipse", "stripes", 0.55, ("ball", "kite")),
    "egg": Kind("ellipse", "dots", 0.08, ("ladybird",)),
    "planet": Kind("ellipse", "rings", 0.65, ("target",)),
    "wheel": Kind("ring", "checks", 0.00, ("button", "target")),
    "tile": Kind("square", "plain", 0.50, ("gift", "chessboard")),
    "dice": Kind("square", "dots", 0.90, ("chessboard", "ladybird")),
    "flag": Kind("diamond", "cross", 0.66, ("kite", "gift")),
    "quilt": Kind("diamond", "checks", 0.33, ("chessboard", "kite")),
    "pizza": Kind("triangle", "dots", 0.10, ("tent", "ladybird")),
    "sail": Kind("triangle", "plain", 0.58, ("tent", "kite")),
    "starfish": Kind("star", "dots", 0.06, ("star", "flower")),
    "gear": Kind("cog", "plain", 0.62, ("star", "flower", "button")),
    "clover": Kind("petals", "rings", 0.33, ("flower",)),
    "plus": Kind("plus", "plain", 0.99, ("star", "gift")),
    "scene": Kind("nothing", "plain", 0.50, tuple(CLASSES)),
}

KINDS = CLASSES | OTHERS


def _polygon(x: Plane, y: Plane, corners: int) -> Plane:
    """Return the signed distance to a regular polygon with inner radius 0.75: negative inside."""
    step = 2 * np.pi / corners
    angle = (np.arctan2(x, y) + step / 2) % step - step / 2
    return np.hypot(x, y) * np.cos(angle) - (0.5 if corners == 3 else 0.75)


def _lobes(x: Plane, y: Plane, count: int, depth: float) -> Plane:
    return np.hypot(x, y) - 0.75 - depth * np.cos(count * np.arctan2(x, y))


def _star(x: Plane, y: Plane) -> Plane:
    """Return the signed distance to a star with outer radius 0.95 and inner radius 0.42."""
    step = 2 * np.pi / 5
    angle = np.abs((np.arctan2(x, y) + step / 2) % step - step / 2)
    radius = np.hypot(x, y)
    edge_x, edge_y = 0.42 * math.cos(step / 2) - 0.95, 0.42 * math.sin(step / 2)
    length = math.hypot(edge_x, edge_y)
    return (edge_y * (radius * np.cos(angle) - 0.95) - edge_x * radius * np.sin(angle)) / length


# Signed distances on about [-1, 1]²: negative inside the outline.
OUTLINES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "disk": lambda x, y: np.hypot(x, y) - 0.85,
    "ellipse": lambda x, y: (np.hypot(x, y / 0.55) - 1) * 0.55,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.65) - 0.24,
    "square": lambda x, y: _polygon(x, y, 4),
    "diamond": lambda x, y: np.abs(x) * 1.35 + np.abs(y) * 0.85 - 0.85,
    "triangle": lambda x, y: _polygon(x, y, 3),
    "star": _star,
    "petals": lambda x, y: _lobes(x, y, 6, 0.22),
    "cog": lambda x, y: np.maximum(_lobes(x, y, 9, 0.1), 0.3 - np.hypot(x, y)),
    "crescent": lambda x, y: np.maximum(np.hypot(x, y) - 0.85, 0.65 - np.hypot(x - 0.4, y)),
    "plus": lambda x, y: np.minimum(
        np.maximum(np.abs(x) - 0.3, np.abs(y) - 0.9), np.maximum(np.abs(y) - 0.3, np.abs(x) - 0.9)
    ),
    "nothing": lambda x, y: np.ones_like(x + y),
}

# Positive where the second color is drawn.
TEXTURES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "plain": lambda x, y: -np.ones_like(x + y),
    "stripes": lambda x, y: np.sin(7.5 * y) + 0 * x,
    "dots": lambda x, y: np.sin(7 * x + 0.8) * np.sin(7 * y + 0.8) - 0.25,
    "rings": lambda x, y: np.sin(11 * np.hypot(x, y) + 1.6),
    "checks": lambda x, y: np.sin(6.3 * x) * np.sin(6.3 * y),
    "cross": lambda x, y: 0.2 - np.minimum(np.abs(x), np.abs(y)),
}
