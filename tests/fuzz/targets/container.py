"""Image files are reduced to what is decoded (pipeline/ingest/formats.py).

A file gives a container or a `Rejected`. A container has one of six formats, is at most a few bytes larger than the
file, and is a fixed point: reduced again, it gives the same bytes, so nothing that a decoder need not see is left. The
sizes that an AVIF declares inside can be read without an error. A PNG is tried as it is and with right checksums.
"""

from collections.abc import Iterator

from pipeline.ingest.av1 import largest_frame
from pipeline.ingest.container import MAX_PROFILE, Container
from pipeline.ingest.formats import open_container
from pipeline.rejections import Rejected
from tests.fuzz.inputs import check_rejection
from tests.fuzz.png_checksums import with_checksums
from tests.hostile.images import CASES

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
MAX_SEED = 4096
WORDS = (
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"),
    *(b"ftyp", b"avif", b"avis", b"iloc", b"stco", b"co64", b"idat", b"colrnclx", b"infe", b"RIFF", b"WEBP", b"VP8X"),
    *(b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe", b"JFIF\0", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xe1", b"!\xf9\x04"),
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield the small files of tests/hostile."""
    yield from (data for case in CASES.values() if len(data := case.make()) <= MAX_SEED)


def check(data: bytes) -> None:
    """Reduce a file, and reduce the result again."""
    reduce(data)
    if data.startswith(b"\x89PNG"):
        reduce(with_checksums(data))


def reduce(data: bytes) -> None:
    try:
        container = open_container(data)
    except Rejected as rejected:
        check_rejection(rejected)
        return
    assert container.format in FORMATS
    assert len(container.data) <= len(data) + 1024
    assert len(container.profile) <= MAX_PROFILE + 1 or container.format == "JPEG"
    width, height = largest_frame(container.data)
    assert min(width, height) >= 0
    try:
        again = open_container(container.data)
    except Rejected as rejected:  # only if a part that the image needs is missing
        check_rejection(rejected, {"truncated"})
        return
    assert without_metadata(again) == without_metadata(container)


def without_metadata(container: Container) -> tuple[str, bytes, bool]:
    # A GIF that ends within a block gets another end mark each time.
    data = container.data.rstrip(b";") if container.format == "GIF" else container.data
    return container.format, data, container.adobe
