"""The configuration of a build: what goes in, what is done to it, in one YAML file."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from common.config import (
    MAX_SECONDS,
    build,
    fetching,
    merge,
    operational,
    output,
    parse_overrides,
    parse_yaml,
)
from common.errors import UsageError
from pipeline import files
from pipeline.aggregate_config import AggregateConfig
from pipeline.ingest_config import PRESETS, IngestConfig
from pipeline.noise_config import NoiseConfig
from pipeline.publication_config import PublicationConfig
from pipeline.rejections import printable
from pipeline.values import identifier_fault, normalize_name

_FETCH_LIMITS = {
    "timeout_seconds": MAX_SECONDS, "deadline_seconds": MAX_SECONDS, "concurrency": 65_536, "host_concurrency": 65_536,
    "host_requests_per_second": 1_000_000, "host_budget_seconds": MAX_SECONDS, "max_attempts": 1000,
    "max_retry_after_seconds": MAX_SECONDS,
}  # fmt: skip
"""Upper limits of FetchConfig: the libraries fail beyond them, or the value is a mistake."""


@dataclass(frozen=True)
class FetchConfig:
    """How URLs of retrieval lists are downloaded (docs/explanation/fetching.md)."""

    RENAMED: ClassVar = {"x_robots_tag": "opt_outs", "tdm_reservation": "opt_outs"}

    contact: str = fetching("")
    """Your mail address or web page, sent to servers in the User-Agent header; required if a list
    has URLs."""
    timeout_seconds: float = fetching(20.0)
    """Limit in seconds for connecting, and for each wait for more bytes of a response."""
    deadline_seconds: float = fetching(60.0)
    """Limit in seconds for one attempt as a whole, including redirects and the response body."""
    concurrency: int = operational(64)
    """Maximum number of requests in progress in one task, 1 to 65,536; a local run has one task."""
    host_concurrency: int = operational(4)
    """Maximum number of requests in progress to one host in the whole run, 1 to 65,536."""
    host_requests_per_second: float = operational(10.0)
    """Maximum number of requests per second to one host in the whole run; 0 means no limit."""
    host_budget_seconds: float = fetching(600.0)
    """Time budget of one host in seconds. Waiting for the host uses it, and each response returns one second. The
    remaining URLs of a host without budget are rejected (host_too_slow)."""
    max_attempts: int = fetching(3)
    """Maximum number of attempts per URL, 1 to 1,000; an attempt is repeated after HTTP 429, HTTP 5xx or a broken
    connection."""
    max_retry_after_seconds: float = fetching(60.0)
    """Longest wait in seconds before another attempt; a URL whose server asks for a longer one (Retry-After) is rejected."""
    robots_txt: bool = fetching(True)
    """Reject URLs that the robots.txt of their host disallows."""
    opt_outs: bool = fetching(True)
    """Reject images whose server reserves them: sent with X-Robots-Tag noai, noimageai, noindex, noimageindex or none, or
    with TDM-Reservation: 1, or reserved by the host's /.well-known/tdmrep.json and not sent with TDM-Reservation: 0."""
    keep_bodies: bool = operational(True)
    """Keep downloaded files after ingest. If false, a later run that needs them downloads them again."""
    allow_private_hosts: bool = fetching(False)
    """Allow URLs that lead to loopback and private addresses; for tests and demos only."""

    def __post_init__(self) -> None:
        for name, most in _FETCH_LIMITS.items():
            value = getattr(self, name)
            if name in ("host_requests_per_second", "max_retry_after_seconds"):
                if value < 0:
                    raise ValueError(f"{name} must be 0 or more, got {value:,}")
            elif not value > 0:
                raise ValueError(f"{name} must be more than 0, got {value:,}")
            if value > most:
                raise ValueError(f"{name} must be at most {most:,}, got {value:,}")
        if not (self.contact.isascii() and self.contact.isprintable()):
            raise ValueError(
                f"contact {printable(self.contact)!r} is sent in an HTTP header; give one line of ASCII text"
            )


_EMBED_LIMITS = {"size": 8192, "batch_size": 65_536}


@dataclass(frozen=True)
class EmbedConfig:
    """Features of all images by a frozen network of timm (docs/how-to/embed.md); off unless `weights` is set."""

    weights: str = operational("")
    """File with the weights of `network`, in safetensors format with timm's names: a local path (a relative one starts at the
    working folder), gs://, s3:// or hdfs://. Its content, not its path, decides whether features are up to date. Default:
    none, and no features are computed."""
    network: str = output("")
    """Name of a network in timm, such as tf_efficientnet_lite0 or vit_base_patch16_224.augreg_in21k; required with
    `weights`."""
    size: int | None = output(None)
    """Side of the network's input in pixels, 8 to 8,192 (default: that of the network in timm)."""
    resize: Literal["network", "exact"] = output("network")
    """network: scale and crop as timm's evaluation transform of the network does, which may cut off the border. exact: scale
    both sides to `size`, so that the network sees the whole image."""
    interpolation: Literal["bilinear", "bicubic", "lanczos"] | None = output(None)
    """Filter of the scaling (default: that of the network in timm)."""
    mean: tuple[float, ...] | None = output(None)
    """Mean of red, green and blue, each 0 to 1, that is subtracted from pixels (default: that of the network in timm)."""
    std: tuple[float, ...] | None = output(None)
    """Standard deviation of red, green and blue, each above 0, that pixels are divided by (default: that of the network in
    timm)."""
    precision: Literal["auto", "float32", "bfloat16"] = output("float32")
    """Numbers that the network computes with. auto: bfloat16 where the hardware has units for it (GPUs since Ampere, CPUs with
    AMX), else float32. Features are stored as float16."""
    batch_size: int = output(32)
    """Images that the network gets at once, 1 to 65,536; incomplete batches are filled up."""

    def __post_init__(self) -> None:
        for name, most in _EMBED_LIMITS.items():
            value = getattr(self, name)
            if value is not None and not (8 if name == "size" else 1) <= value <= most:
                raise ValueError(f"{name} must be {8 if name == 'size' else 1} to {most:,}, got {value:,}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != 3 or not all(0 <= value <= 1 for value in values):
                raise ValueError(
                    f"{name} must be three numbers from 0 to 1 (red, green, blue), got {list(values)}"
                )
            if name == "std" and not all(values):
                raise ValueError(f"std must be above 0, got {list(values)}")


@dataclass(frozen=True)
class DedupeConfig:
    """When two images are near-duplicates (docs/explanation/duplicates.md)."""

    RENAMED: ClassVar = {"turns": "orientations", "join_above": "distribute_above"}
    RENAMED_VALUES: ClassVar = {"orientations": {True: "all", False: "none"}}

    radius: int = output(8)
    """Maximum number of differing bits of the 64-bit hashes of two near-duplicates, 0 to 10."""
    confirm_radius: int = output(64)
    """Maximum number of differing bits of the 256-bit hashes of two near-duplicates, 0 to 128."""
    min_contrast: float = output(2.0)
    """Standard deviation of gray levels (0 to 255) below which an image is a duplicate only of files with the same bytes,
    since all flat images hash alike; 0 to 255."""
    clean_leaks: Literal["remove", "keep"] = output("remove")
    """Remove or keep clean training images that are near-duplicates of test images; web images are always removed."""
    orientations: Literal["none", "mirrored", "all"] = output("mirrored")
    """Orientations in which copies are found. none: only as they are; mirrored: mirrored left to right, too, which takes
    twice the work, since trainers mirror images; all: also flipped and rotated by 90° or 180°, seven times the work."""
    neighbors: int = output(5)
    """Number of test images, nearest by features, that each training image is compared with in detail, 0 to 1,000. Finds
    copies that are cropped by up to 12 %, or have a border or text over them. 0: not at all. Ignored unless `embed.weights`
    is set."""
    min_similarity: float = output(0.5)
    """Lowest cosine similarity of the features of two images that are compared in detail, −1 to 1."""
    min_match: float = output(0.75)
    """Lowest share of detailed blocks that must agree in two images that are compared in detail, above 0 to 1."""
    distribute_above: int = operational(30_000_000)
    """Number of images above which the search is a distributed join. Up to this number each worker process holds all
    hashes: 8 bytes per image, and 50 bytes per image during the search."""

    def __post_init__(self) -> None:
        if not 0 <= self.radius <= 10:
            raise ValueError(f"radius must be 0 to 10 (of 64 bits), got {self.radius}")
        if not 0 <= self.confirm_radius <= 128:
            raise ValueError(f"confirm_radius must be 0 to 128 (of 256 bits), got {self.confirm_radius}")
        if not 0 <= self.min_contrast <= 255:
            raise ValueError(f"min_contrast must be 0 to 255, got {self.min_contrast:g}")
        if self.distribute_above < 0:
            raise ValueError(f"distribute_above must be 0 or more, got {self.distribute_above}")
        if not 0 <= self.neighbors <= 1000:
            raise ValueError(f"neighbors must be 0 to 1,000, got {self.neighbors:,}")
        if not -1 <= self.min_similarity <= 1:
            raise ValueError(f"min_similarity must be -1 to 1, got {self.min_similarity:g}")
        if not 0 < self.min_match <= 1:
            raise ValueError(f"min_match must be above 0 and at most 1, got {self.min_match:g}")


@dataclass(frozen=True)
class ShardsConfig:
    """How the sets are written."""

    RENAMED: ClassVar = {"rows": "max_rows", "megabytes": "max_megabytes"}

    mode: Literal["self-contained", "shared"] = output("self-contained")
    """self-contained: every set holds its images. shared: one table holds all images, and every set is a list of examples,
    which saves space with many sets or large images."""
    max_rows: int = output(4096)
    """Number of clean images in one shard of a set, approximately at most; 1 to 10,000,000."""
    max_megabytes: int = output(256)
    """Encoded images that one task holds in memory, in MiB, approximately at most; 1 to 1,024, since a table of Arrow holds
    2 GiB of them. A lower limit gives more and smaller shards."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_rows <= 10_000_000:
            raise ValueError(f"max_rows must be 1 to 10,000,000, got {self.max_rows}")
        # At most half of parquet.MAX_IMAGE_BYTES, because buckets differ in size.
        if not 1 <= self.max_megabytes <= 1024:
            raise ValueError(f"max_megabytes must be 1 to 1,024, got {self.max_megabytes}")


@dataclass(frozen=True)
class BuildConfig:
    """A whole build, from lists to shards."""

    RENAMED: ClassVar = {"label": "aggregate"}

    source: str = operational()
    """Folder of the lists below; relative paths of images start there, too. Local, gs://, s3:// or hdfs://."""
    classes: tuple[str, ...] = output(stages=("fetch", "ingest", "aggregate", "split"))
    """Names of the classes; the position is the class id."""
    clean: tuple[str, ...] = output(stages=("fetch", "ingest"))
    """Lists of well-labeled images."""
    test: tuple[str, ...] = output(stages=("fetch", "ingest"))
    """Lists of test images."""
    web: tuple[str, ...] = output(stages=("fetch", "ingest"))
    """Retrieval lists."""
    votes: tuple[str, ...] = output(stages=("aggregate",))
    """Vote files."""
    name: str = output("controlled-noise", stages=("split",))
    """Name of the dataset, for its card."""
    seed: int = output(
        0,
        stages={"aggregate": lambda config: bool(config.aggregate.ties == "seeded"), "split": lambda _: True},
    )
    """Seed of all random choices: noise, trials, `clean_per_class`, and ties with `ties: seeded`."""
    fetch: FetchConfig = operational(default_factory=FetchConfig)
    ingest: IngestConfig = output(default_factory=IngestConfig, stages=("ingest",))
    aggregate: AggregateConfig = output(default_factory=AggregateConfig, stages=("aggregate",))
    embed: EmbedConfig = output(default_factory=EmbedConfig, stages=("embed",))
    dedupe: DedupeConfig = output(default_factory=DedupeConfig, stages=("dedupe",))
    noise: NoiseConfig = output(default_factory=NoiseConfig, stages=("split",))
    shards: ShardsConfig = output(default_factory=ShardsConfig, stages=("split",))
    publication: PublicationConfig = operational(default_factory=PublicationConfig)

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ValueError(f"classes must name two or more classes, got {len(self.classes)}; add one")
        for name, count in Counter(self.classes).items():
            if count > 1:
                raise ValueError(f"classes lists {name!r} twice; remove one")
        for name in self.classes:
            if normalize_name(name) is None:
                raise ValueError(
                    f"classes: {name!r} stands for a missing value in lists; choose another name"
                )
            if fault := identifier_fault(name):
                raise ValueError(f"classes: {printable(name)!r}: {fault}; choose another name")
        chosen = self.noise.class_map if isinstance(self.noise.class_map, dict) else {}
        for name in [*chosen, *chosen.values()]:
            if name not in self.classes:
                raise ValueError(f"class_map names {name!r}, which is not in classes")
        for name in self.noise.allow_empty_classes:
            if name not in self.classes:
                raise ValueError(f"allow_empty_classes names {name!r}, which is not in classes")
        if "blue-instance" in self.noise.colors and not self.embed.weights:
            raise ValueError(
                "noise.colors has blue-instance, which needs features of the images; set embed.weights and embed.network, or "
                "remove it"
            )
        for name, other in chosen.items():
            if name == other:
                raise ValueError(f"class_map maps {name!r} to itself; give another class or remove the entry")


def load_config(path: str, overrides: list[str]) -> BuildConfig:
    """Read a YAML file and apply `--set` overrides. Raises UsageError that names key and remedy."""
    return make_config(merge(parse_yaml(files.read_text(path), path), parse_overrides(overrides)), path)


def make_config(raw: dict[str, Any], where: str = "config") -> BuildConfig:
    """Return the configuration of nested keys and values. Raises UsageError that names `where`, key and remedy."""
    return build(BuildConfig, _normalize_names(_lay_out_preset(raw, where)), where)


def _normalize_names(raw: dict[str, Any]) -> dict[str, Any]:
    """Bring the names of classes to the form in which they are read from lists."""

    def normal(name: Any) -> Any:
        return (normalize_name(name) or name) if isinstance(name, str) else name

    def normal_list(section: Mapping[str, Any], key: str) -> dict[str, Any]:
        if isinstance(section.get(key), list | tuple):
            return {**section, key: [normal(name) for name in section[key]]}
        return dict(section)

    raw = normal_list(raw, "classes")
    noise = raw.get("noise")
    if not isinstance(noise, Mapping):
        return raw
    noise = normal_list(noise, "allow_empty_classes")
    if isinstance(noise.get("class_map"), Mapping):
        mapped = {normal(name): normal(other) for name, other in noise["class_map"].items()}
        noise = {**noise, "class_map": mapped}
    return {**raw, "noise": noise}


def _lay_out_preset(raw: dict[str, Any], where: str) -> dict[str, Any]:
    """Expand `ingest.preset`; keys given explicitly take precedence."""
    ingest = raw.get("ingest")
    if not isinstance(ingest, Mapping) or "preset" not in ingest:
        return raw
    name = ingest["preset"]
    if not isinstance(name, str) or name not in PRESETS:
        raise UsageError(f"{where}.ingest.preset: {name!r} is not one of {', '.join(PRESETS)}")
    given = {key: value for key, value in ingest.items() if key != "preset"}
    return {**raw, "ingest": {**PRESETS[name], **given}}
