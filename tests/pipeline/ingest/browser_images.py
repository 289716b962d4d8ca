"""Hand-made image files, and the pixels that a browser shows on a white page, computed from the specifications."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.pipeline.ingest import icc_profiles
from tests.pipeline.ingest.png_files import ADAM7, chunk

SIDE = 16
RANDOM = np.random.default_rng(0)


@dataclass(frozen=True)
class Shown:
    """A file, its pixels on white (rows, columns, 3), and the tolerance of a decoder in levels."""

    data: bytes
    pixels: np.ndarray
    tolerance: float = 1.0


# PNG: samples (rows, columns, channels)


def lines(samples: np.ndarray, depth: int) -> bytes:
    made = b""
    for row in samples:
        values = row.reshape(-1)
        if depth == 16:
            made += b"\x00" + values.astype(">u2").tobytes()
        elif depth == 8:
            made += b"\x00" + values.astype(np.uint8).tobytes()
        else:
            made += b"\x00" + np.packbits(values[:, None] >> np.arange(depth - 1, -1, -1) & 1).tobytes()
    return made


def compressed(samples: np.ndarray, depth: int, interlaced: bool = False) -> bytes:
    passes = [samples[y::down, x::across] for x, y, across, down in ADAM7] if interlaced else [samples]
    return zlib.compress(b"".join(lines(part, depth) for part in passes if part.size))


def png(
    samples: np.ndarray,
    depth: int,
    color: int,
    *before: bytes,
    interlaced: bool = False,
    after: tuple[bytes, ...] = (),
) -> bytes:
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, color, 0, 0, interlaced)
    data = chunk(b"IDAT", compressed(samples, depth, interlaced))
    body = [chunk(b"IHDR", header), *before, data, *after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def draw(levels: int, channels: int) -> np.ndarray:
    return RANDOM.integers(0, levels, (SIDE, SIDE, channels))


def on_white(colors: np.ndarray, alpha: np.ndarray | float = 1.0) -> np.ndarray:
    """Return colors and alpha from 0 to 1."""
    return 255 * np.broadcast_to(colors * alpha + 1 - alpha, (*colors.shape[:2], 3))


def transparency() -> dict[str, Shown]:
    result = {}
    for depth in (1, 2, 4, 8, 16):
        top = (1 << depth) - 1
        gray, key = draw(top + 1, 1), top // 3
        gray[:4] = key
        alpha = (gray != key).astype(float)
        for passes in (False, True):
            name = f"gray of {depth} bits" + " in seven passes" * passes
            result[name] = Shown(png(gray, depth, 0, interlaced=passes), on_white(gray / top))
            data = png(gray, depth, 0, chunk(b"tRNS", struct.pack(">H", key)), interlaced=passes)
            result[f"{name}, one transparent"] = Shown(data, on_white(gray / top, alpha))
        if depth <= 8:
            index, palette = draw(top + 1, 1), RANDOM.integers(0, 256, (top + 1, 3))
            opacity = np.full(top + 1, 255)
            opacity[:2] = 0, 128
            before = chunk(b"PLTE", palette.astype(np.uint8).tobytes()), chunk(b"tRNS", b"\x00\x80")
            colors, alpha = palette[index[..., 0]] / 255, opacity[index] / 255
            result[f"palette of {depth} bits, partly transparent"] = Shown(
                png(index, depth, 3, *before), on_white(colors, alpha)
            )
        if depth >= 8:
            rgb = draw(top + 1, 3)
            rgb[:4], rgb[4:6] = rgb[0, 0], rgb[0, 0] ^ 1  # equal except for the last bit
            alpha = (rgb != rgb[0, 0]).any(axis=2, keepdims=True).astype(float)
            before = (chunk(b"tRNS", struct.pack(">3H", *rgb[0, 0])),)
            result[f"RGB of {depth} bits, one transparent"] = Shown(
                png(rgb, depth, 2, *before), on_white(rgb / top, alpha)
            )
            for color, name in ((4, "gray"), (6, "RGB")):
                deep = draw(top + 1, 2 if color == 4 else 4)
                result[f"{name} and alpha of {depth} bits"] = Shown(
                    png(deep, depth, color, interlaced=True),
                    on_white(deep[..., :-1] / top, deep[..., -1:] / top),
                    2,
                )
    data = png(draw(256, 3), 8, 2, chunk(b"bKGD", b"\x00\xff\x00\x00\x00\x00"))
    result["a background color"] = Shown(data, np.asarray(Image.open(io.BytesIO(data))))
    return result


# Colors

LEVELS = np.resize(
    np.stack(np.meshgrid([0, 60, 128, 200, 255], [0, 90, 255], [10, 128, 240]), -1).reshape(-1, 3), (256, 3)
)
SRGB = (0.3127, 0.329, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
# Linear Display P3 and BT.2020 to linear sRGB: CSS Color 4, sample code for conversions.
P3_TO_SRGB = np.array(
    [[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786361, 1.0982736]]
)
BT2020_TO_SRGB = np.array(
    [[1.6604910, -0.5876411, -0.0728499], [-0.1245505, 1.1328999, -0.0083494], [-0.0181508, -0.1005789, 1.1187297]]
)  # fmt: skip


def light(levels: np.ndarray) -> np.ndarray:
    share = levels / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def encoded(linear: np.ndarray) -> np.ndarray:
    linear = linear.clip(0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * shown.reshape(SIDE, SIDE, 3)


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def chrm(points: tuple[float, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(x * 100_000) for x in points)))


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"x\x00\x00" + zlib.compress(profile))


def colors() -> dict[str, Shown]:
    plain = LEVELS.reshape(SIDE, SIDE, 3)
    share = LEVELS / 255
    linear, gamma22 = encoded(share), encoded(share**2.2)
    adobe = icc_profiles.to_srgb(LEVELS, 2.2, icc_profiles.ADOBE_RGB).reshape(SIDE, SIDE, 3)
    straight = iccp(icc_profiles.profile(1.0, icc_profiles.SRGB))
    srgb = chunk(b"sRGB", b"\x00")
    cases: dict[str, tuple[list[bytes], np.ndarray]] = {
        "nothing": ([], plain),
        "a gamma of 1": ([gama(1)], linear),
        "the usual gamma": ([gama(0.45455)], plain),
        "the usual gamma, and the primaries of sRGB": ([gama(0.45455), chrm(SRGB)], gamma22),
        "gamma and primaries of Adobe RGB": ([gama(1 / 2.2), chrm(ADOBE)], adobe),
        "primaries alone": ([chrm(ADOBE)], plain),
        "sRGB beside a gamma": ([srgb, gama(1), chrm(ADOBE)], plain),
        "a profile beside a gamma": ([straight, gama(0.2)], linear),
        "a profile beside sRGB": ([srgb, straight], linear),
        "code points of sRGB beside a profile": ([chunk(b"cICP", b"\x01\x0d\x00\x01"), straight], plain),
        "code points of Display P3": ([chunk(b"cICP", b"\x0c\x0d\x00\x01")], encoded(light(LEVELS) @ P3_TO_SRGB.T)),
        "code points of BT.2020": ([chunk(b"cICP", b"\x09\x0d\x00\x01")], encoded(light(LEVELS) @ BT2020_TO_SRGB.T)),
        "code points of television": ([chunk(b"cICP", b"\x01\x01\x00\x01")], encoded(share**2.4)),
        "a gamma of 0": ([gama(0)], plain),
        "primaries at 0": ([gama(1), chrm((0,) * 8)], plain),
    }  # fmt: skip
    result = {name: Shown(png(plain, 8, 2, *more), pixels, 2) for name, (more, pixels) in cases.items()}
    ramp = np.arange(256).reshape(SIDE, SIDE, 1)
    shades = encoded(np.repeat(ramp.reshape(-1, 1) / 255, 3, axis=1))
    result |= {
        "gray with a gamma of 1": Shown(png(ramp, 8, 0, gama(1)), shades, 2),
        "16-bit gray with a gamma of 1": Shown(png(ramp * 257, 16, 0, gama(1)), shades, 2),
        "gray with a profile": Shown(png(ramp, 8, 0, iccp(icc_profiles.profile(1.0))), shades, 2),
        "gray with a profile for color": Shown(png(ramp, 8, 0, straight), shades, 2),
        "a palette with a gamma of 1": Shown(
            png(ramp, 8, 3, gama(1), chunk(b"PLTE", LEVELS.astype(np.uint8).tobytes())), linear, 2
        ),
    }
    return result


# Animations

RED, GREEN = (np.full((SIDE, SIDE, 3), color) for color in ((200, 0, 0), (0, 150, 0)))
BLUE = np.full((8, 8, 3), (0, 0, 180))


def control(number: int, width: int, height: int, x: int, y: int) -> bytes:
    return chunk(b"fcTL", struct.pack(">5I2HBB", number, width, height, x, y, 1, 10, 0, 0))


def frame(number: int, samples: np.ndarray) -> bytes:
    return chunk(b"fdAT", struct.pack(">I", number) + compressed(samples, 8))


def inside(part: np.ndarray, x: int, y: int, side: int = SIDE) -> np.ndarray:
    whole = np.full((side, side, 3), 255)
    whole[y : y + part.shape[0], x : x + part.shape[1]] = part
    return whole


def animations() -> dict[str, Shown]:
    full, two, one = (
        (0, 0),
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"acTL", struct.pack(">II", 1, 0)),
    )
    more = control(2, 8, 8, 0, 0), frame(3, BLUE)
    whole = control(0, SIDE, SIDE, *full), frame(1, GREEN)
    part = control(0, 8, 8, 4, 6), frame(1, BLUE)
    green = chunk(b"tRNS", struct.pack(">3H", 0, 150, 0))
    cases = {
        "the default image is the first frame": (png(RED, 8, 2, two, whole[0], after=more), RED),
        "the default image is no frame": (png(RED, 8, 2, two, after=(*whole, *more)), GREEN),
        "the default image is no frame, of one": (png(RED, 8, 2, one, after=whole), GREEN),
        "the first frame is a part": (png(RED, 8, 2, two, after=(*part, *more)), inside(BLUE, 4, 6)),
        "the first frame is transparent": (png(RED, 8, 2, two, green, after=(*whole, *more)), inside(BLUE[:0], 0, 0)),
        "announced behind the picture": (png(RED, 8, 2, after=(one, *whole)), RED),
        "of no frames": (png(RED, 8, 2, chunk(b"acTL", bytes(8)), after=whole), RED),
    }  # fmt: skip
    return {f"APNG: {name}": Shown(data, pixels) for name, (data, pixels) in cases.items()}


# GIF and WebP

TABLE = RANDOM.integers(0, 256, (256, 3))
INDEX = RANDOM.integers(0, 256, (SIDE, SIDE))


def gif(
    index: np.ndarray,
    screen: tuple[int, int],
    at: tuple[int, int],
    shared: bool = True,
    own: bool = False,
    transparent: int | None = None,
    background: int = 3,
) -> bytes:
    height, width = index.shape
    buffer = io.BytesIO()
    image = Image.frombytes("P", (width, height), index.astype(np.uint8).tobytes())
    image.putpalette(bytes(range(256)) * 3)
    image.save(buffer, "GIF", interlace=0, optimize=False)
    plain = buffer.getvalue()
    start = plain.index(b"," + struct.pack("<HHHH", 0, 0, width, height))
    colors = 3 << (plain[start + 9] & 7) + 1 if plain[start + 9] & 0x80 else 0
    data, table = plain[start + 10 + colors :], TABLE.astype(np.uint8).tobytes()
    made = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x87 * shared, background, 0) + table * shared
    if transparent is not None:
        made += b"!\xf9\x04" + struct.pack("<BHBB", 1, 0, transparent, 0)
    return made + b"," + struct.pack("<HHHHB", *at, width, height, 0x87 * own) + table * own + data


def webp(image: Image.Image, at: tuple[int, int], alpha: bool) -> bytes:
    """Return an animation of 16×16 whose first frame covers a part of it; browsers ignore its blue background."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True)

    def short(value: int) -> bytes:
        return value.to_bytes(3, "little")

    def part(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    place = b"".join(map(short, (at[0] // 2, at[1] // 2, image.width - 1, image.height - 1, 100)))
    body = part(b"VP8X", bytes([0x02 | 0x10 * alpha, 0, 0, 0]) + short(SIDE - 1) * 2)
    body += part(b"ANIM", struct.pack("<IH", 0xFF0000FF, 0)) + part(
        b"ANMF", place + b"\x00" + buffer.getvalue()[12:]
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def frames() -> dict[str, Shown]:
    small = INDEX[:8, :8]
    part, whole = TABLE[small], TABLE[INDEX]
    key = int(small[0, 0])
    clear = np.where((small == key)[..., None], 255, part)
    cases = {
        "over the whole screen": (gif(INDEX, (16, 16), (0, 0)), whole),
        "in a corner": (gif(small, (16, 16), (0, 0)), inside(part, 0, 0)),
        "in the middle": (gif(small, (16, 16), (4, 6)), inside(part, 4, 6)),
        "in the middle, with a transparent color": (gif(small, (16, 16), (4, 6), transparent=key), inside(clear, 4, 6)),
        "in the middle, with its own colors": (gif(small, (16, 16), (4, 6), shared=False, own=True), inside(part, 4, 6)),
        "larger than the screen": (gif(INDEX, (12, 12), (0, 0)), whole),
        "beyond the screen": (gif(INDEX, (16, 16), (4, 4)), inside(whole, 4, 4, 20)),
        "beside the screen": (gif(small, (8, 8), (12, 12)), inside(part, 12, 12, 20)),
        "without colors": (gif(INDEX, (16, 16), (0, 0), shared=False), 0 * whole),
    }  # fmt: skip
    result = {f"GIF: {name}": Shown(data, pixels) for name, (data, pixels) in cases.items()}
    for alpha in (False, True):
        image = Image.new("RGBA" if alpha else "RGB", (8, 8), (10, 90, 200))
        result[f"WebP: in the middle, alpha {alpha}"] = Shown(
            webp(image, (4, 6), alpha), inside(np.full((8, 8, 3), (10, 90, 200)), 4, 6)
        )
    return result


# AVIF


def avif(primaries: int = 1, transfer: int = 13) -> bytes:
    """Return an image of 64×64 in four colors, with one code point replaced."""
    blocks = Image.fromarray(
        np.array([[(160, 110, 100), (100, 150, 110)], [(100, 110, 160), (128, 128, 128)]], np.uint8)
    )
    buffer = io.BytesIO()
    blocks.resize((64, 64), Image.Resampling.NEAREST).save(buffer, "AVIF", quality=100, subsampling="4:4:4")
    data = buffer.getvalue()
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def moved(meta: bytes, distance: int) -> bytes:
    """Return metadata with shifted offsets of the image data (Pillow's files: version 0, offsets of four bytes)."""
    at = meta.index(b"iloc") + 4
    (count,) = struct.unpack_from(">H", meta, at + 6)
    changed = bytearray(meta)
    for item in range(count):
        place = at + 8 + 14 * item + 6
        struct.pack_into(">I", changed, place, struct.unpack_from(">I", meta, place)[0] + distance)
    return bytes(changed)


def avif_layouts() -> dict[str, bytes]:
    """Return the same image in boxes of all header forms (ISO/IEC 14496-12, 4.2)."""
    data = avif()
    kinds, at = dict[bytes, bytes](), 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        kinds[kind], at = data[at : at + size], at + size
    ftyp, meta, mdat = kinds[b"ftyp"], kinds[b"meta"], kinds[b"mdat"]
    large = struct.pack(">I4sQ", 1, b"mdat", len(mdat) + 8) + mdat[8:]
    brands = b"avif\x00\x00\x00\x00mif1" + b"".join(b"x%03d" % i for i in range(100)) + b"avifmiaf"
    many = struct.pack(">I4s", 8 + len(brands), b"ftyp") + brands
    return {
        "as Pillow writes it": data,
        "data of no stated size": ftyp + meta + b"\x00\x00\x00\x00" + mdat[4:],
        "data of a 64-bit size": ftyp + moved(meta, 8) + large,
        "the description behind the data": ftyp + mdat + moved(meta, -len(meta)),
        "the description behind data of a 64-bit size": ftyp + large + moved(meta, 8 - len(meta)),
        "a description of a 64-bit size": ftyp + struct.pack(">I4sQ", 1, b"meta", len(meta) + 8) + moved(meta, 8)[8:] + mdat,
        "free space in front": ftyp + b"\x00\x00\x00\x0cfreexxxx" + moved(meta, 12) + mdat,
        "a hundred brands": many + moved(meta, len(many) - len(ftyp)) + mdat,
        "another major brand": data[:8] + b"mif1" + data[12:],
        "a major brand that Pillow does not know": data[:8] + b"MA1B" + data[12:],
    }  # fmt: skip


def avifs() -> dict[str, Shown]:
    plain = np.array(
        [[(160, 110, 100), (100, 150, 110)], [(100, 110, 160), (128, 128, 128)]], float
    ).repeat(32, 0).repeat(32, 1)  # fmt: skip

    def shown(linear: np.ndarray) -> np.ndarray:
        linear = linear.clip(0, 1)
        return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

    result = {f"AVIF: {name}": Shown(data, plain, 3) for name, data in avif_layouts().items()}
    return result | {
        "AVIF: television": Shown(avif(1, 1), plain, 3),
        "AVIF: nothing said of its colors": Shown(avif(2, 2), plain, 3),
        "AVIF: linear": Shown(avif(1, 8), shown(plain / 255), 3),
        "AVIF: Display P3": Shown(avif(12, 13), shown(light(plain) @ P3_TO_SRGB.T), 5),
        "AVIF: BT.2020": Shown(avif(9, 14), shown(light(plain) @ BT2020_TO_SRGB.T), 5),
    }


CASES = transparency() | colors() | animations() | frames() | avifs()
