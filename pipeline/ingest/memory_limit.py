"""Limit the memory of a decoding process to what an image of the declared size needs.

The declared size is checked before decoding, but the content may differ from it: an AVIF of 64×64 pixels may contain a
frame of 16,384×16,384, which its decoder fills before it scales it down.
"""

import os
import resource
import sys

BASE_BYTES = 128 << 20
"""Memory that any image may take, however small it is."""
BYTES_PER_PIXEL = 32
"""Decoding and all later steps take up to 22 at the peak (WebP with transparency)."""
COPIES = 4
"""Number of copies of the file that may be in memory."""


def limit_memory(pixels: int, file_bytes: int) -> None:
    """Limit this process to its present memory plus what an image of `pixels` pixels needs. Linux only.

    Beyond the limit an allocation fails: Python raises MemoryError, and decoders raise errors of their own.
    """
    if sys.platform != "linux":
        return
    with open("/proc/self/statm", "rb") as file:
        present = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    limit = present + BASE_BYTES + BYTES_PER_PIXEL * pixels + COPIES * file_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
