import io

import numpy as np
import pytest
from PIL import Image

from demo.images import CLEAN, ENCODINGS, draw, encode
from demo.shapes import CLASSES, KINDS, OTHERS, OUTLINES, TEXTURES


@pytest.mark.parametrize("suffix", ENCODINGS)
def test_the_same_seed_gives_the_same_bytes(suffix):
    first, again, other = (encode(draw("ball", seed, CLEAN), suffix) for seed in ((0, 1), (0, 1), (0, 2)))
    assert first == again
    assert first != other
    assert Image.open(io.BytesIO(first)).format == ENCODINGS[suffix][0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_drawn_in_the_promised_sizes(kind):
    sizes = {draw(kind, (0, number), CLEAN).size for number in range(12)}
    assert all(48 <= side <= 88 for size in sizes for side in size)
    assert any(width != height for width, height in sizes)


def test_kinds_are_made_of_known_parts_and_are_near_known_classes():
    assert not CLASSES.keys() & OTHERS.keys()
    pairs = [(kind.outline, kind.texture) for kind in KINDS.values()]
    assert len(set(pairs)) == len(pairs), "two kinds would look the same"
    for name, kind in KINDS.items():
        assert kind.outline in OUTLINES
        assert kind.texture in TEXTURES
        assert set(kind.near) <= KINDS.keys() - {name}


def test_every_class_has_other_classes_and_other_things_near_it():
    for name, kind in CLASSES.items():
        assert set(kind.near) & CLASSES.keys()
        assert any(name in other.near for other in OTHERS.values())


@pytest.mark.parametrize("outline", OUTLINES)
def test_outlines_fit_into_the_square_that_is_painted(outline):
    y, x = np.mgrid[-2:2:200j, -2:2:200j].astype(np.float32)
    inside = OUTLINES[outline](x, y) < 0
    assert inside.any() == (outline != "nothing")
    assert np.abs(x[inside]).max(initial=0) <= 1.15
    assert np.abs(y[inside]).max(initial=0) <= 1.15
