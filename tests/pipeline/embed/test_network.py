"""Features equal those of timm's own evaluation pipeline, and weights that do not fit are refused."""

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from common.errors import DataError, UsageError
from pipeline.embed.loading import close_network, open_network
from pipeline.embed.preprocess import FILTERS, Preprocessing, read_pixels
from tests.pipeline.embed.conftest import NETWORK, save_weights, spec_of, timm

DEFAULT_WEIGHTS = Path(__file__).parents[4] / "shared" / "data" / "efficientnet-lite"
REAL_WEIGHTS = Path(os.environ.get("EFFICIENTNET_LITE", DEFAULT_WEIGHTS))


def encoded(width: int, height: int, seed: int = 0, mode: str = "RGB") -> bytes:
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8).astype(np.uint8))
    buffer = io.BytesIO()
    blobs.resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def of_timm(images: list[bytes], network: str, weights: Path) -> tuple[np.ndarray, torch.Tensor]:
    """Features and inputs as timm's documentation computes them: one image at a time, its own transform and network."""
    model = timm.create_model(network, pretrained=False)
    model.load_state_dict(load_file(weights))
    model.reset_classifier(0)
    model.eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    inputs = torch.stack([transform(Image.open(io.BytesIO(image)).convert("RGB")) for image in images])
    with torch.inference_mode():
        return np.concatenate([model(x[None]).numpy() for x in inputs]), inputs


IMAGES = [
    encoded(40, 40, 1),
    encoded(200, 150, 2),
    encoded(150, 201, 3),
    encoded(160, 160, 4, "L"),
    encoded(333, 170, 5),
]


@pytest.mark.parametrize("network", [NETWORK, "test_vit", "test_resnet"])
def test_features_equal_those_of_timm(network: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, network)
    opened = open_network(spec_of(weights, network=network))
    pixels = np.stack([read_pixels(image, "x", opened.preprocessing) for image in IMAGES])
    expected, inputs = of_timm(IMAGES, network, weights)
    rule = opened.preprocessing
    ours = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - torch.tensor(rule.mean).view(
        1, 3, 1, 1
    )
    assert torch.equal(ours / torch.tensor(rule.std).view(1, 3, 1, 1), inputs)  # to the bit
    features = opened.features(pixels)
    assert features.dtype == np.float16
    np.testing.assert_allclose(features.astype(np.float32), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.skipif(not REAL_WEIGHTS.is_dir(), reason="no weights; set EFFICIENTNET_LITE")
def test_features_of_trained_weights_equal_those_of_timm() -> None:
    weights = REAL_WEIGHTS / "tf_efficientnet_lite0.safetensors"
    opened = open_network(spec_of(weights, network="tf_efficientnet_lite0"))
    pixels = np.stack([read_pixels(image, "x", opened.preprocessing) for image in IMAGES])
    expected, _ = of_timm(IMAGES, "tf_efficientnet_lite0", weights)
    np.testing.assert_allclose(opened.features(pixels).astype(np.float32), expected, rtol=2e-3, atol=2e-3)


def test_features_do_not_depend_on_the_other_images_of_a_batch(weights: Path) -> None:
    opened = open_network(spec_of(weights))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 160, 160, 3), np.uint8).astype(np.uint8)
    together = opened.features(pixels)
    alone = np.concatenate([opened.features(pixels[i : i + 1]) for i in range(8)])
    assert np.array_equal(together, alone)
    assert np.array_equal(opened.features(pixels[::-1]), together[::-1])


def test_settings_of_the_network_replace_those_of_timm(weights: Path) -> None:
    changed = spec_of(
        weights, size=64, resize="exact", interpolation="bilinear", mean=(0.0, 0.1, 0.2), std=(1.0, 0.5, 0.25)
    )
    assert open_network(changed).preprocessing == Preprocessing(
        64, 64, "both", "bilinear", (0.0, 0.1, 0.2), (1.0, 0.5, 0.25)
    )


def test_an_exact_resize_shows_the_whole_image() -> None:
    rule = Preprocessing(16, 16, "both", "bilinear", (0, 0, 0), (1, 1, 1))
    image = encoded(50, 30, 1)
    expected = Image.open(io.BytesIO(image)).resize((16, 16), FILTERS["bilinear"])
    assert np.array_equal(read_pixels(image, "x", rule), np.asarray(expected))


@pytest.fixture
def _two_threads() -> Iterator[None]:
    close_network()  # of an earlier test
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("_two_threads")
def test_torch_settings_are_restored(weights: Path) -> None:
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32
    open_network(spec_of(weights))
    assert torch.get_num_threads() == 1
    close_network()
    assert (
        torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32
    ) == before  # fmt: skip


def test_a_network_is_loaded_once_per_process(weights: Path) -> None:
    first = open_network(spec_of(weights))
    assert open_network(spec_of(weights)) is first
    assert open_network(spec_of(weights, size=64)) is not first


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet5O", "did you mean"),
        ("hf-hub:someone/model", "no network"),
        ("test_resnet.nosuch", "'nosuch'"),
    ],
)
def test_an_unknown_network_is_named(weights: Path, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        open_network(spec_of(weights, network=name))


def test_a_fixed_input_size_cannot_be_changed(tmp_path: Path) -> None:
    save_weights(tmp_path / "vit.safetensors", "test_vit")
    with pytest.raises(UsageError, match=r"embed\.size"):
        open_network(spec_of(tmp_path / "vit.safetensors", network="test_vit", size=64))


def changed_weights(tensors: dict, what: str) -> dict:
    names = [name for name in tensors if name.endswith("conv_stem.weight")]
    if what == "lacks":
        return {name: tensor for name, tensor in tensors.items() if name not in names}
    if what == "has unknown":
        return {**tensors, "extra.weight": torch.zeros(3)}
    if what == "has other types":
        return {**tensors, names[0]: tensors[names[0]].to(torch.int8)}
    return {**tensors, names[0]: torch.zeros(1, 3, 3, 3)}


@pytest.mark.parametrize("what", ["lacks", "has unknown", "has other shapes", "has other types"])
def test_weights_of_another_network_are_refused_with_the_names_of_tensors(tmp_path: Path, what: str) -> None:
    path = tmp_path / "w.safetensors"
    tensors = save_weights(path)
    save_file(changed_weights(tensors, what), path)
    with pytest.raises(
        DataError, match=rf"not weights of timm's {NETWORK}: it {what}.*(conv_stem|extra)\.weight"
    ):
        open_network(spec_of(path))


def test_weights_without_counters_of_batches_and_with_another_classifier_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = {
        name: tensor
        for name, tensor in save_weights(path).items()
        if not name.endswith("num_batches_tracked")
    }
    head = {
        name: torch.zeros(7, *tensor.shape[1:]) for name, tensor in tensors.items() if "classifier" in name
    }
    assert head
    save_file({**tensors, **head}, path)
    assert open_network(spec_of(path)).dimension == 256


def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for content in (b"", b"not weights", b"\xff" * 64, (1 << 60).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a readable safetensors file"):
            open_network(spec_of(path))


def test_a_replaced_file_is_noticed(weights: Path) -> None:
    with pytest.raises(DataError, match="replaced"):
        open_network(spec_of(weights, weights_sha256="0" * 64))


def test_features_beyond_float16_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = save_weights(path)
    save_file({name: tensor * (1e6 if "bn" in name else 1) for name, tensor in tensors.items()}, path)
    with pytest.raises(DataError, match="float16"):
        open_network(spec_of(path)).features(np.full((1, 160, 160, 3), 200, np.uint8))


def test_a_damaged_image_is_named() -> None:
    with pytest.raises(DataError, match="'web-1' cannot be decoded"):
        read_pixels(b"no image", "web-1", Preprocessing(8, 8, "both", "bilinear", (0, 0, 0), (1, 1, 1)))


def test_remote_weights_are_copied_to_a_temporary_file(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = weights.read_bytes()
    monkeypatch.setattr(
        "pipeline.files.open_read",
        lambda path: io.BytesIO(content if "://" in path else Path(path).read_bytes()),
    )
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spec = spec_of(weights)
    assert open_network(replace(spec, weights="gs://bucket/w.safetensors")).dimension == 256
    assert list(tmp_path.iterdir()) == []
