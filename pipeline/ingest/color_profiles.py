"""Make ICC profiles for files that describe their colors by gamma and chromaticities, or by code points."""

import struct

import numpy as np

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65 = (0.3127, 0.3290)
_SRGB_GAMMA, _TOLERANCE = 2.2, 0.1  # a gAMA chunk without cHRM within this tolerance means sRGB
Chromaticities = tuple[float, ...]
"""x and y of white, red, green and blue"""
Curve = tuple[float, float, float, float, float]
"""g, a, b, c, d: light is (a·v + b)^g for v ≥ d, and c·v below (ICC.1:2022, 10.18, function type 3)"""

# ITU-T H.273, tables 2 and 3; television is displayed with a gamma of 2.4 (BT.1886).
_PRIMARIES: dict[int, Chromaticities] = {
    1: (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_TELEVISION = (1, 6, 14, 15)
_CURVES: dict[int, Curve] = {
    **dict.fromkeys(_TELEVISION, (2.4, 1, 0, 0, 0)),
    4: (2.2, 1, 0, 0, 0),
    5: (2.8, 1, 0, 0, 0),
    8: (1, 1, 0, 0, 0),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
}


def cicp_profile(body: bytes) -> bytes | None:
    """Return the profile for a cICP chunk of a PNG, empty for sRGB.

    None for anything but full-range RGB, and for transfer functions without a fixed white (PQ, HLG).
    """
    if len(body) != 4 or body[2:] != b"\x00\x01" or body[0] not in _PRIMARIES or body[1] not in _CURVES:
        return None
    return b"" if body[:2] == b"\x01\x0d" else _profile(_PRIMARIES[body[0]], _CURVES[body[1]])


def video_profile(primaries: bytes, transfer: bytes) -> bytes:
    """Return the profile for the code points of an AVIF file, empty for sRGB and if there is none.

    Like browsers, take the transfer functions of standard television as that of sRGB.
    """
    code = primaries[0] if primaries[0] in _PRIMARIES else 1
    is_srgb = transfer[0] not in _CURVES or transfer[0] in _TELEVISION
    return cicp_profile(bytes([code, 13 if is_srgb else transfer[0], 0, 1])) or b""


def gamma_profile(gamma: bytes, chromaticities: bytes) -> bytes:
    """Return the profile for the gAMA and cHRM chunks of a PNG, empty for sRGB.

    As in browsers, chromaticities count only together with a gamma; a gamma alone is used with those of sRGB.
    """
    if len(gamma) != 4:
        return b""
    value = int.from_bytes(gamma, "big") / 100_000
    if not 0.01 <= value <= 10:
        return b""
    if len(chromaticities) != 32:
        return (
            b""
            if abs(1 / value - _SRGB_GAMMA) < _TOLERANCE
            else _profile(_PRIMARIES[1], (1 / value, 1, 0, 0, 0))
        )
    points = tuple(v / 100_000 for v in struct.unpack(">8i", chromaticities))
    return _profile(points, (1 / value, 1, 0, 0, 0))


def _profile(points: Chromaticities, curve: Curve) -> bytes:
    """Return a display profile of three colorants and one curve; empty if the chromaticities are degenerate."""
    columns = np.array([_xyz(*points[i : i + 2]) for i in range(0, 8, 2)])
    white, primaries = columns[0], columns[1:].T
    if not np.isfinite(columns).all() or abs(np.linalg.det(primaries)) < 1e-6:
        return b""
    colorants = primaries * np.linalg.solve(primaries, white)
    # Profiles are relative to D50: linear Bradford adaptation (ICC.1:2022, annex E).
    cones = np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white))
    colorants = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ colorants
    if not abs(colorants).max() <= 100:  # too large, or no number: a cone without an answer to white
        return b""
    tags = {b"wtpt": _fixed(b"XYZ ", *_D50), b"desc": b"desc" + bytes(86), b"cprt": b"text" + bytes(5)}
    for i, name in enumerate((b"r", b"g", b"b")):
        tags[name + b"XYZ"] = _fixed(b"XYZ ", *colorants[:, i])
        tags[name + b"TRC"] = _fixed(b"para", *curve, function_type=b"\x00\x03\x00\x00")
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head = head.ljust(36, b"\x00") + b"acsp"
    return head.ljust(68, b"\x00") + _fixed(b"", *_D50)[4:].ljust(60, b"\x00") + table + body


def _xyz(x: float, y: float) -> tuple[float, float, float]:
    return (x / y, 1.0, (1 - x - y) / y) if y else (np.nan, np.nan, np.nan)


def _fixed(name: bytes, *numbers: float, function_type: bytes = b"") -> bytes:
    """Return a tag of s15Fixed16 numbers."""
    return name + bytes(4) + function_type + b"".join(struct.pack(">i", round(n * 65536)) for n in numbers)
