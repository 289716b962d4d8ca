"""Hand-made ICC profiles: a matrix and a gamma for RGB, or a gamma for gray (ICC.1:2010, version 2)."""

import struct

import numpy as np

# Adobe RGB (1998), adapted to D50: columns are the colorants.
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
D50 = (0.9642, 1.0, 0.8249)


def _fixed(*numbers: float) -> bytes:
    return b"XYZ \x00\x00\x00\x00" + b"".join(struct.pack(">i", round(n * 65536)) for n in numbers)


def _curve(gamma: float) -> bytes:
    return b"curv\x00\x00\x00\x00" + struct.pack(">IH", 1, round(gamma * 256)) + b"\x00\x00"


def profile(gamma: float, colorants: np.ndarray | None = None) -> bytes:
    """Return a display profile: RGB with colorants, gray without."""
    text = b"made by hand\x00"
    tags = {
        b"desc": b"desc\x00\x00\x00\x00" + struct.pack(">I", len(text)) + text + b"\x00" * 78,
        b"cprt": b"text\x00\x00\x00\x00none\x00",
        b"wtpt": _fixed(*D50),
    }
    if colorants is None:
        tags[b"kTRC"] = _curve(gamma)
    else:
        for i, name in enumerate((b"r", b"g", b"b")):
            tags[name + b"XYZ"], tags[name + b"TRC"] = _fixed(*colorants[:, i]), _curve(gamma)
    table, body = struct.pack(">I", len(tags)), b""
    start = 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\x00" * (-len(data) % 4)
    size = start + len(body)
    space = b"GRAY" if colorants is None else b"RGB "
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", space, b"XYZ ") + b"\x00" * 12
    header += b"acsp" + b"\x00" * 28 + _fixed(*D50)[8:]
    return header.ljust(128, b"\x00") + table + body


def to_srgb(levels: np.ndarray, gamma: float, colorants: np.ndarray) -> np.ndarray:
    """Convert 8-bit `levels` (n, 3) of such a profile to sRGB by the formulas: float (n, 3), clipped to 0 and 255."""
    linear = (levels / 255.0) ** gamma @ colorants.T @ np.linalg.inv(SRGB).T
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
