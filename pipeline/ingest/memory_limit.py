"""The memory limit of a decoding process: a file may take no more than a picture of its declared size needs.

What a file declares can be checked before anything is decoded, what is in it cannot: an AVIF of 64×64 pixels may hold a
frame of 16,384×16,384, which its decoder fills before it scales it down.
"""

import os
import resource
import sys

BASE_BYTES = 128 << 20
"""What any picture may take, however small it is."""
BYTES_A_PIXEL = 32
"""Decoders take up to 22 at the peak (WebP with transparency), all that follows included."""
COPIES = 4
"""How often the bytes of a file may be held."""


def limit_memory(pixels: int, file_bytes: int) -> None:
    """Limit this process to what it holds now, and what a picture of so many pixels needs. Linux only.

    Beyond the limit an allocation fails, which Python raises as MemoryError and decoders report as an error of theirs.
    """
    if sys.platform != "linux":
        return
    with open("/proc/self/statm", "rb") as file:
        held = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    wanted = held + BASE_BYTES + BYTES_A_PIXEL * pixels + COPIES * file_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
