"""A small world with images that crash their decoder, and with it the process, where Python finds the world's folder."""

from pathlib import Path

from tests.pipeline.small_world import World, picture, write_world

POISON = ("clean-ant-3", "web-bee-9")
# Python runs this at the start of every process; a decoder with a real fault would be mended one day.
FAULT = """
import os, signal
from PIL import Image

real = Image.open

def crash_on_poison(*args, **kwargs):
    image = real(*args, **kwargs)
    if image.size == (57, 43):
        os.kill(os.getpid(), signal.SIGSEGV)
    return image

Image.open = crash_on_poison
"""


def write_poisoned_world(folder: Path) -> World:
    """The small world; the fault acts in processes that have its folder on their PYTHONPATH."""
    world = write_world(folder)
    for image_id in POISON:
        picture(image_id).resize((57, 43)).save(world.folder / "images" / f"{image_id}.png")
    (world.folder / "sitecustomize.py").write_text(FAULT)
    return world
