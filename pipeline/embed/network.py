"""A frozen network of timm with local weights. This is the only module of the pipeline that imports torch."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from common.errors import DataError, UsageError
from pipeline import files
from pipeline.embed.preprocess import FILTERS, Preprocessing, scaled_length
from pipeline.embed.spec import NetworkSpec

_SHOWN = 3  # names of tensors in a message
_PIECE = 1 << 20  # bytes copied at once


class Network:
    """A network without its classifier, in evaluation mode, on the GPU if there is one.

    While it is open, torch uses one thread on a CPU, and deterministic kernels without TF32 on a GPU, so that the features
    of an image do not depend on the number of threads. `close` restores the settings.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = _make_model(spec)
        self.preprocessing = _preprocessing(model, spec)
        _fill(model, _read_weights(spec), spec)
        self.model = model.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        self.bf16 = _uses_bf16(spec.precision, self.device)
        self._settings = (
            torch.get_num_threads(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
        )
        _set(1 if self.device.type == "cpu" else self._settings[0], True, False, False)
        shape = [3 * [self.preprocessing.mean], 3 * [self.preprocessing.std]]
        self._mean, self._std = (torch.tensor(each[0], device=self.device).view(1, 3, 1, 1) for each in shape)
        size = self.preprocessing.size
        self.dimension = self.features(np.zeros((1, size, size, 3), np.uint8)).shape[1]

    @torch.inference_mode()
    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return features float16 [n, C] for pixels uint8 [n, size, size, 3]; n is at most the batch size.

        Batches are filled up to the batch size, because the last bits of a result may depend on it. Raises DataError for
        features that are not finite.
        """
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # each thread has a number of its own
        count = len(pixels)
        full = np.zeros((self.spec.batch_size, *pixels.shape[1:]), np.uint8)
        full[:count] = pixels
        x = torch.from_numpy(full).to(self.device).permute(0, 3, 1, 2).float()  # in channels-last order
        x = x.div_(255).sub_(self._mean).div_(self._std)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.model(x)
        if not isinstance(output, Tensor) or output.ndim != 2:
            raise UsageError(
                f"embed.network: {self.spec.network} gives no vector for an image; choose a network for classification"
            )
        vectors: np.ndarray = output[:count].half().cpu().numpy()
        if not np.isfinite(vectors).all():
            raise DataError(
                f"{self.spec.weights}: {self.spec.network} gives features beyond the range of float16 (±65,504); check that "
                "the weights and embed.mean and embed.std belong to this network, or choose another network"
            )
        return vectors

    def close(self) -> None:
        """Restore torch's settings."""
        _set(*self._settings)


def _set(threads: int, deterministic: bool, benchmark: bool, tf32: bool) -> None:
    torch.set_num_threads(threads)
    cudnn = torch.backends.cudnn
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = deterministic, benchmark, tf32


def _uses_bf16(precision: str, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu.get_capabilities().get("amx_tile", False))


def _make_model(spec: NetworkSpec) -> nn.Module:
    """Build the network without a classifier and without weights. Raises UsageError for an unknown name."""
    names = timm.list_models()
    name, _, tag = spec.network.partition(".")
    if name not in names:  # also names such as hf-hub:…, which timm would download
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
        raise UsageError(f"embed.network: timm has no network {spec.network!r}; {hint}")
    try:
        model: nn.Module = timm.create_model(spec.network, pretrained=False, num_classes=0)
    except RuntimeError as error:  # an unknown tag
        raise UsageError(
            f"embed.network: timm has no weights {tag!r} of {name} ({error}); leave out the part after the dot"
        ) from error
    return model


def _preprocessing(model: nn.Module, spec: NetworkSpec) -> Preprocessing:
    """Return timm's evaluation transform of a network, with the values of the configuration that replace its own."""
    own: Mapping[str, Any] = resolve_model_data_config(model)
    fixed: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]  # set by timm
    side = int(own["input_size"][-1])
    size = spec.size or side
    if size != side and fixed.get("fixed_input_size"):
        raise UsageError(
            f"embed.size: {spec.network} takes images of {side} pixels, got {size}; remove embed.size"
        )
    interpolation = spec.interpolation or str(own["interpolation"])
    mode = str(own.get("crop_mode") or "center")
    if spec.resize == "exact":
        mode, scaled = "squash", size
    else:
        scaled = scaled_length(size, float(own["crop_pct"]))
    if mode not in ("center", "squash") or interpolation not in FILTERS:
        key, value = (
            ("resize: exact", mode)
            if mode not in ("center", "squash")
            else ("interpolation: bicubic", interpolation)
        )
        raise UsageError(f"embed: {spec.network} asks for {value!r}, which is not supported; set embed.{key}")
    mean, std = (
        tuple(float(v) for v in given or own[name])
        for name, given in (("mean", spec.mean), ("std", spec.std))
    )
    return Preprocessing(size, scaled, "both" if mode == "squash" else "shorter", interpolation, mean, std)


def _read_weights(spec: NetworkSpec) -> dict[str, Tensor]:
    """Read the tensors of the weights file. Raises DataError if it is damaged or is not the file of the submitted job."""
    with _local_copy(spec.weights) as path:
        if files.sha256(path) != spec.weights_sha256:
            raise DataError(
                f"{spec.weights}: the file was replaced while the stage was running; run it again"
            )
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise DataError(
                f"{spec.weights}: not a readable safetensors file ({error}); give a file of weights in that format"
            ) from error


@contextmanager
def _local_copy(path: str) -> Iterator[str]:
    """Yield a local path of a file, which for a remote one is a temporary copy."""
    if "://" not in path:
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        with files.open_read(path) as source:
            while piece := source.read(_PIECE):
                copy.write(piece)
        copy.flush()
        yield copy.name


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], spec: NetworkSpec) -> None:
    """Copy weights into a network; those of its classifier are left out. Raises DataError if names, shapes or types differ."""
    own = model.state_dict()
    config: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]  # set by timm
    heads = config.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    given = {
        name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(f"{h}." for h in heads))
    }
    # The number of batches seen in training is not used; converted files often lack it.
    missing = [name for name in own.keys() - given.keys() if not name.endswith("num_batches_tracked")]
    unknown = [*(given.keys() - own.keys())]
    shapes = [
        f"{name} is {list(given[name].shape)} instead of {list(own[name].shape)}"
        for name in own.keys() & given.keys()
        if own[name].shape != given[name].shape
    ]
    kinds = [
        f"{name} is {given[name].dtype} instead of {own[name].dtype}"
        for name in own.keys() & given.keys()
        if own[name].is_floating_point() != given[name].is_floating_point() or given[name].is_complex()
    ]
    problems = (
        ("lacks", missing), ("has unknown", unknown), ("has other shapes:", shapes), ("has other types:", kinds)
    )  # fmt: skip
    found = [f"it {verb} {_listed(names)}" for verb, names in problems if names]
    if found:
        raise DataError(
            f"{spec.weights}: these are not weights of timm's {spec.network}: {'; '.join(found)}; correct embed.network or "
            "embed.weights"
        )
    model.load_state_dict({**own, **given})


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(sorted(names)[:_SHOWN])}{more}"
