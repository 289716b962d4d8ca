"""The section `ingest` of a build's configuration: how images are checked and normalized."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from common.config import MAX_SECONDS, operational, output, require_share

PRESETS: dict[str, dict[str, Any]] = {
    # What TFDS' controlled_noisy_web_labels stores (docs/explanation/images.md).
    "tfds": {
        "size": 84,
        "resize": "exact",
        "resample": "area",
        "format": "jpeg",
        "quality": 72,
        "scaled_decoding": False,
    },
    # The follow-ups train on 32 × 32; the paper's networks take 224 (ResNet), 299 (Inception), 456 (EfficientNet-B5).
    "follow-ups": {"size": 32, "resize": "exact", "resample": "area", "format": "png"},
    "paper-224": {"size": 224, "resize": "crop", "resample": "area", "format": "jpeg", "quality": 90},
    "paper-299": {"size": 299, "resize": "crop", "resample": "area", "format": "jpeg", "quality": 90},
    "paper-456": {"size": 456, "resize": "crop", "resample": "area", "format": "jpeg", "quality": 90},
}
"""Values of IngestConfig by the name of a preset: `preset: tfds` in the section `ingest` sets those of "tfds"."""


_SIDE = 16_383  # the largest side that WebP has
_INGEST_LIMITS = {
    "size": _SIDE, "min_side": _SIDE, "max_bytes": 2**40, "max_pixels": 2**40, "decode_seconds": MAX_SECONDS,
}  # fmt: skip
"""Upper limits of IngestConfig: the libraries fail beyond them, or the value is a mistake."""


@dataclass(frozen=True)
class IngestConfig:
    """How images are checked and normalized."""

    RENAMED: ClassVar = {
        "contact": "fetch.contact",
        "timeout_seconds": "fetch.timeout_seconds",
        "deadline_seconds": "fetch.deadline_seconds",
        "fetches": "fetch.concurrency",
        "host_fetches": "fetch.host_concurrency",
        "host_per_second": "fetch.host_requests_per_second",
        "host_seconds": "fetch.host_budget_seconds",
        "tries": "fetch.max_attempts",
        "max_wait_seconds": "fetch.max_retry_after_seconds",
        "robots_txt": "fetch.robots_txt",
        "x_robots_tag": "fetch.opt_outs",
        "tdm_reservation": "fetch.opt_outs",
        "keep_fetched": "fetch.keep_bodies",
        "allow_private_hosts": "fetch.allow_private_hosts",
    }

    size: int = output(224)
    """Side of the normalized image in pixels, from `min_side` up (see `resize`)."""
    resize: Literal["exact", "crop", "fit", "none"] = output("crop")
    """exact: scale both sides to `size`; crop: scale the shorter side to `size` and keep the central square; fit: scale the
    longer side to `size`; none: keep the size."""
    resample: Literal["area", "lanczos"] = output("area")
    """Filter that shrinks images. area: mean of the covered pixels; lanczos: sharper. Images are enlarged by bicubic
    interpolation."""
    scaled_decoding: bool = output(True)
    """Decode a JPEG at 1/2, 1/4 or 1/8 of its size if that leaves at least twice the pixels of the result along each side.
    This is faster, and the difference is hardly visible (docs/explanation/images.md)."""
    format: Literal["jpeg", "png", "webp"] = output("jpeg")
    """Encoding of the normalized image. PNG is lossless, which suits images of a few dozen pixels."""
    quality: int = output(90)
    """Quality of JPEG and WebP encoding, 1 to 100; ignored for PNG."""
    max_bytes: int = output(20_000_000, fetching=True)
    """Reject larger files (too_large), in bytes; also the limit of a response body."""
    max_pixels: int = output(50_000_000)
    """Reject images with more pixels before they are decoded (too_many_pixels)."""
    min_side: int = output(8)
    """Reject images whose shorter side has fewer pixels (too_small)."""
    decode_seconds: float = output(60.0)
    """Reject an image that takes longer to decode, in seconds (decoder_timeout)."""
    max_rejected_share: float = operational(0.5)
    """Fail the stage if more than this share (0 to 1) of all rows, of the rows of one list, or of the clean or test rows of
    one class is rejected."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality is 1 to 100, got {self.quality}")
        for name, most in _INGEST_LIMITS.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} is at most {most:,}, got {getattr(self, name):,}")
        if self.size < self.min_side:
            raise ValueError(f"size {self.size} is below min_side {self.min_side}")
        for name in ("max_bytes", "max_pixels", "min_side", "decode_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
        require_share("max_rejected_share", self.max_rejected_share)
