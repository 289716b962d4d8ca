"""Hostile and odd files in place of images, each with the expected result."""

import base64
import gzip
import io
import pickle
import random
import struct
import zipfile
import zlib

from PIL import Image

from pipeline.ingest.decode import decode
from pipeline.ingest.normalize import encode, normalize
from pipeline.ingest_config import IngestConfig
from pipeline.rejections import Rejected
from tests.hostile.image_case import IMAGE, Case, changed, plain, saved
from tests.hostile.jpeg_images import JPEG, exif_bomb, exif_loop
from tests.pipeline.ingest.png_files import chunk, png

CONFIG = IngestConfig(size=16)


def lines(width: int, height: int) -> bytes:
    return (b"\x00" + b"\x80" * 3 * width) * height


GOOD = lines(32, 24)


# PNG


def png_with(*chunks: bytes) -> bytes:
    return png(32, 24, 8, 2, GOOD, *chunks)


def png_without(kind: bytes) -> bytes:
    data = saved("PNG")
    at = data.index(kind) - 4
    (length,) = struct.unpack_from(">I", data, at)
    return data[:at] + data[at + 12 + length :]


def changed_header(data: bytes, at: int, value: int) -> bytes:
    header = changed(data[12:29], at - 12, bytes([value]))
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def text_bomb(kind: bytes, head: bytes) -> bytes:
    return chunk(kind, head + zlib.compress(bytes(40 << 20)))


def inflating(width: int, height: int, megabytes: int) -> bytes:
    return png(width, height, 8, 2, lines(width, height) + bytes(megabytes << 20))


PNG = {
    "a bomb of 60,000 × 60,000": Case(lambda: png(60_000, 60_000, 8, 2, bytes(1000)), "too_many_pixels"),
    "a bomb of one bit a pixel": Case(lambda: png(60_000, 60_000, 1, 0, bytes(1000)), "too_many_pixels"),
    "as wide as a header can say": Case(lambda: png(2**31 - 1, 8, 8, 2, b""), "too_many_pixels"),
    "wider than a header may say": Case(lambda: png(2**32 - 1, 8, 8, 2, b""), "too_many_pixels"),
    "1 × 10,000": Case(lambda: png(1, 10_000, 8, 2, lines(1, 10_000)), "too_small"),
    "10,000 × 8": Case(lambda: png(10_000, 8, 8, 2, lines(10_000, 8)), IMAGE, (10_000, 8)),
    "1 × 1": Case(lambda: png(1, 1, 8, 2, lines(1, 1)), "too_small"),
    "no width": Case(lambda: png(0, 24, 8, 2, b""), "truncated"),
    "more lines promised than there": Case(lambda: png(32, 240, 8, 2, GOOD), "truncated"),
    "the same, in seven passes": Case(lambda: changed_header(png(32, 240, 8, 2, GOOD), 28, 1), "truncated"),
    "black to its last line": Case(lambda: saved("PNG", Image.new("RGB", (32, 24))), IMAGE),
    "fewer lines promised than there": Case(lambda: png(32, 24, 8, 2, lines(32, 240)), IMAGE),
    "data that inflate to 40 MB": Case(lambda: inflating(32, 24, 40), IMAGE),
    "three bits a pixel": Case(lambda: png(32, 24, 3, 2, GOOD), "truncated"),
    "palette without colors": Case(lambda: png(32, 24, 8, 3, (b"\x00" + b"\x05" * 32) * 24), IMAGE),
    "unknown filter of lines": Case(lambda: png(32, 24, 8, 2, (b"\x09" + b"\x80" * 96) * 24), "truncated"),
    "data that are no deflate": Case(lambda: changed(png_with(), 41, b"\xff\xff\xff"), "truncated"),
    "wrong checksum of the header": Case(lambda: changed(png_with(), 29, b"\x00\x00"), "truncated"),
    "wrong checksum of the data": Case(lambda: changed(png_with(), len(png_with()) - 16, b"\x00"), "truncated"),
    "wrong checksum of a comment": Case(lambda: png_with(chunk(b"tEXt", b"a\x00b")[:-1] + b"\x00"), IMAGE),
    "no data": Case(lambda: png_without(b"IDAT"), "truncated"),
    "no header": Case(lambda: png_without(b"IHDR"), "truncated"),
    "no end": Case(lambda: png_without(b"IEND"), IMAGE),
    "two headers": Case(lambda: png_with(png(32, 24, 8, 2, b"")[8:33]), IMAGE),
    "a second, huge header": Case(lambda: png_with(png(60_000, 60_000, 8, 2, b"")[8:33]), "too_many_pixels"),
    "a chunk longer than any file": Case(lambda: png_with(b"\x7f\xff\xff\xfftEXt"), "truncated"),
    "more chunks than any picture": Case(lambda: png_with(chunk(b"tEXt", b"") * 110_000), "truncated"),
    "a zTXt bomb": Case(lambda: png_with(text_bomb(b"zTXt", b"a\x00\x00")), IMAGE),
    "an iTXt bomb": Case(lambda: png_with(text_bomb(b"iTXt", b"a\x00\x01\x00\x00\x00")), IMAGE),
    "an iCCP bomb": Case(lambda: png_with(text_bomb(b"iCCP", b"a\x00\x00")), IMAGE),
    "a profile that is none": Case(lambda: png_with(chunk(b"iCCP", b"a\x00\x00rubbish")), IMAGE),
    "an EXIF bomb": Case(lambda: png_with(chunk(b"eXIf", exif_bomb(8 << 20))), IMAGE),
    "EXIF that points to itself": Case(lambda: png_with(chunk(b"eXIf", exif_loop())), IMAGE),
    "with a ZIP archive behind it": Case(lambda: saved("PNG") + archive(), IMAGE),
    "with a script behind it": Case(lambda: saved("PNG") + b"<script>alert(1)</script>", IMAGE),
    "of an iPhone's program": Case(lambda: changed(png_with(), 8, chunk(b"CgBI", b"\x50\x00\x20\x02")), "truncated"),
    "an APNG of a thousand frames": Case(
        lambda: png_with(chunk(b"acTL", struct.pack(">II", 1000, 0))), IMAGE, animated=True
    ),
}  # fmt: skip


# GIF, WebP, BMP, AVIF


def gif_screen(width: int, height: int) -> bytes:
    return changed(saved("GIF"), 6, struct.pack("<HH", width, height))


def gif_frame(*box: int) -> bytes:
    data = saved("GIF")
    return changed(data, data.index(b",\x00\x00\x00\x00") + 1, struct.pack("<HHHH", *box))


def with_frames(kind: str, count: int) -> bytes:
    frames = [Image.new("RGB", (32, 24), (i * 85 % 256, i // 256, 0)) for i in range(count)]
    return saved(kind, frames[0], save_all=True, append_images=frames[1:])


def gif_comments(count: int) -> bytes:
    data = saved("GIF")
    at = data.index(b",\x00\x00\x00\x00")
    return data[:at] + b"!\xfe\x01x\x00" * count + data[at:]


def webp_canvas(width: int, height: int) -> bytes:
    data = with_frames("WEBP", 2)
    at = data.index(b"VP8X") + 12
    return changed(data, at, (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def webp_exif(data: bytes) -> bytes:
    result = saved("WEBP", exif=b"Exif\x00\x00" + data)
    assert b"EXIF" in result
    return result


def bmp(**fields: int) -> bytes:
    places = {
        "offset": (10, "<I"),
        "width": (18, "<i"),
        "height": (22, "<i"),
        "bits": (28, "<H"),
        "packing": (30, "<I"),
        "colors": (46, "<I"),
    }
    data = saved("BMP")
    for name, value in fields.items():
        at, kind = places[name]
        data = changed(data, at, struct.pack(kind, value))
    return data


def avif_exif(data: bytes) -> bytes:
    """Return an AVIF with this EXIF block, which Pillow could not write itself."""
    blank = b"II*\x00\x08\x00\x00\x00".ljust(len(data), b"\x00")
    result = saved("AVIF", exif=blank)
    return changed(result, result.index(blank), data)


# One gray frame of 16,384×16,384, encoded by libaom, in a file that declares 64×64.
LARGE_INSIDE = zlib.decompress(base64.b64decode(
    "eNpjYGCQSSupLEgsy0xjAAIQnZuZZpibmQjiv8xNLUlkgADFjJScIiiboSAzuYQBDfAVZJbkglmMQCyXmZOfDOK4gPiMEFFGXgYG"
    "dmkgWyMzMy8NrlYKyEllgvISywwMnfNz8sF2ZWQWFBUAac/MguR8IC2SWVyQCrXPAYqB9lZkgjVzAAmexDJD50Z5GZCAcHJ+TlFe"
    "ck4F0FxeBrYGoJB4ZkEuzEdAZ7EwMjWzAN2knJuSWCLEwMUt/73+//+/y5ikeB2MOvkkmAXLSy5zA11sdv6U1aJ3bRay66dLLb4l"
    "zPdgYdol9+rNSidjFlovOcd04Y/hjPovfR8s2w/8qvw6XXSjb0CGlrvWJJ9RfaP6RvWN6hvVN6pvMOgjUxsAgJ7ECw=="
))  # fmt: skip

OTHERS = {
    "GIF: a screen of 65,535 × 65,535": Case(lambda: gif_screen(65_535, 65_535), "too_many_pixels"),
    "GIF: a frame larger than the screen": Case(lambda: gif_frame(0, 0, 60_000, 60_000), "too_many_pixels"),
    "GIF: a frame beside the screen": Case(lambda: gif_frame(60_000, 60_000, 32, 24), "too_many_pixels"),
    "GIF: no pixels": Case(lambda: changed(gif_frame(0, 0, 0, 0), 6, b"\x00\x00\x00\x00"), "truncated"),
    "GIF: no picture": Case(lambda: saved("GIF")[:13] + b";", "truncated"),
    "GIF: a thousand frames": Case(lambda: with_frames("GIF", 1000), IMAGE, animated=True),
    "GIF: 90,000 comments": Case(lambda: gif_comments(90_000), IMAGE),
    "GIF: 3 million comments": Case(lambda: gif_comments(3_000_000), "truncated"),
    "GIF: rubbish for data": Case(lambda: saved("GIF")[:-60] + b"\xff" * 60, "truncated"),
    "WebP: a canvas of 16,383 × 16,383": Case(lambda: webp_canvas(16_383, 16_383), "too_many_pixels"),
    "WebP: three frames": Case(lambda: with_frames("WEBP", 3), IMAGE, animated=True),
    "WebP: longer than it says": Case(lambda: saved("WEBP") + b"x" * 1000, IMAGE),
    "WebP: shorter than it says": Case(lambda: changed(saved("WEBP"), 4, b"\xff\xff\xff\x7f"), "truncated"),
    "WebP: an EXIF bomb": Case(lambda: webp_exif(exif_bomb(8 << 20)), IMAGE),
    "WebP: rubbish for data": Case(lambda: saved("WEBP")[:30] + b"\xff" * 200, "truncated"),
    "BMP: 60,000 × 60,000": Case(lambda: bmp(width=60_000, height=60_000), "too_many_pixels"),
    "BMP: upside down": Case(lambda: bmp(height=-24), IMAGE),
    "BMP: less than no width": Case(lambda: bmp(width=-32), "too_many_pixels"),
    "BMP: data outside the file": Case(lambda: bmp(offset=2**31), "truncated"),
    "BMP: seven bits": Case(lambda: bmp(bits=7), "truncated"),
    "BMP: packed as nothing known": Case(lambda: bmp(packing=77), "truncated"),
    "BMP: four billion colors": Case(lambda: bmp(bits=8, colors=2**32 - 1), "truncated"),
    "AVIF: as it should be": Case(lambda: saved("AVIF"), IMAGE),
    "AVIF: an EXIF bomb": Case(lambda: avif_exif(exif_bomb(8 << 20)), IMAGE),
    "AVIF: no description": Case(lambda: saved("AVIF")[:32], "truncated"),
    "AVIF: a description that ends with the file": Case(lambda: changed(saved("AVIF"), 32, b"\x00\x00\x00\x00"), IMAGE),
    "AVIF: a frame of 16,384 × 16,384 behind a header of 64 × 64": Case(lambda: LARGE_INSIDE, "too_many_pixels"),
    "AVIF: rubbish for data": Case(lambda: saved("AVIF")[:-100] + b"\xff" * 100, IMAGE),
}  # fmt: skip


# Files that are not images, or not of an accepted format


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("a.txt", "a")
    return file.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
NO_PICTURES = {
    "nothing": Case(lambda: b"", "not_an_image"),
    "a byte": Case(lambda: b"\xff", "not_an_image"),
    "zeros": Case(lambda: bytes(1_000_000), "not_an_image"),
    "random bytes": Case(lambda: random.Random(1).randbytes(1_000_000), "not_an_image"),
    "a page": Case(lambda: b"<!DOCTYPE html><html><body>404", "not_an_image"),
    "a page behind a byte order mark": Case(lambda: b"\xef\xbb\xbf<html>", "not_an_image"),
    "JSON": Case(lambda: b'{"error": "gone"}', "not_an_image"),
    "text that begins as BMP does": Case(lambda: b"BMW builds motor cars in Munich since 1928.", "not_an_image"),
    "text that begins as GIF does": Case(lambda: b"GIF89a is the name of a format.", "truncated"),
    "a ZIP archive": Case(archive, "not_an_image"),
    "a picture in gzip": Case(lambda: gzip.compress(saved("PNG")), "not_an_image"),
    "a pickle": Case(lambda: pickle.dumps(plain().tobytes()), "not_an_image"),
    "a sound": Case(lambda: b"RIFF\x24\x00\x00\x00WAVEfmt ", "not_an_image"),
    "SVG": Case(lambda: SVG, "bad_format"),
    "SVG behind a declaration": Case(lambda: b'<?xml version="1.0"?>\n' + SVG, "bad_format"),
    "SVG that reads files": Case(
        lambda: b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>', "bad_format"
    ),
    "PDF": Case(lambda: saved("PDF"), "bad_format"),
    "PostScript": Case(lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "bad_format"),
    "ICO": Case(lambda: saved("ICO"), "bad_format"),
    "TIFF": Case(lambda: saved("TIFF"), "bad_format"),
    "JPEG 2000": Case(lambda: saved("JPEG2000"), "bad_format"),
    "JPEG XL": Case(lambda: b"\xff\x0a" + bytes(100), "bad_format"),
    "HEIC": Case(lambda: b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100), "bad_format"),
    "a film": Case(lambda: b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(100), "bad_format"),
    "PSD": Case(lambda: b"8BPS\x00\x01" + bytes(100), "bad_format"),
}  # fmt: skip

CASES = {
    **{f"PNG: {name}": case for name, case in PNG.items()},
    **{f"JPEG: {name}": case for name, case in JPEG.items()},
    **OTHERS,
    **NO_PICTURES,
}


def outcome(data: bytes) -> tuple[str, tuple[int, int], bool]:
    """What becomes of a file, all the way to the stored image: code or IMAGE, size of the file, animated."""
    try:
        decoded = decode(data, CONFIG)
    except Rejected as rejected:
        return rejected.code, (0, 0), False
    stored = encode(normalize(decoded, CONFIG), CONFIG)
    with Image.open(io.BytesIO(stored)) as opened:
        assert (opened.size, opened.mode) == ((16, 16), "RGB")
    return IMAGE, (decoded.width, decoded.height), decoded.animated
