"""Read from the tables of a build what its publication states: counts, agreement, rejections, licenses."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.config import stage_values
from common.errors import DataError
from pipeline import files
from pipeline.aggregate.wilson import wilson_interval
from pipeline.config import BuildConfig
from pipeline.layout import Layout
from pipeline.report.freshness import outdated
from pipeline.running.stage import STAGE_VERSIONS
from pipeline.shards import directory
from pipeline.shards.dataset_manifests import read_root, read_set_manifest
from schemas.example import SHARED_IMAGES, TEST_SET
from schemas.manifest import MANIFEST, Manifest

OVERALL_MEASURES = {
    "krippendorff_alpha": "Krippendorff's α",
    "fleiss_kappa": "Fleiss' κ",
    "gwet_ac1": "Gwet's AC1",
    "mean_cohen_kappa": "mean Cohen's κ",
}


@dataclass(frozen=True)
class MeasuredValue:
    """A number with a 95 % interval; the bounds may be None."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class VoteFacts:
    """The votes behind the verdicts.

    per_question: number of questions by number of votes. verdicts: number of questions by verdict. answers: number of votes
    by answer. agreement: each measure over all classes. by_class: Krippendorff's α of each class.
    """

    workers: int = 0
    suspicious: int = 0
    votes: int = 0
    per_question: Mapping[int, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)
    agreement: Mapping[str, MeasuredValue] = field(default_factory=dict)
    by_class: Mapping[str, MeasuredValue] = field(default_factory=dict)
    rejections: Mapping[str, int] = field(default_factory=dict)

    @property
    def questions(self) -> int:
        """Number of questions with a verdict."""
        return sum(self.per_question.values())


@dataclass(frozen=True)
class BuildFacts:
    """What a build states about itself.

    root: content of the manifest of the dataset; manifests: that of each published set, and of the shared images. stages:
    configuration of each stage, as far as it affects results. list_rejections: number of list rows by rejection code.
    methods: number of candidates by search method. precision: share of right images among decided candidates.
    """

    root: Mapping[str, Any]
    manifests: Mapping[str, Manifest]
    stages: Mapping[str, Mapping[str, Any]]
    votes: VoteFacts
    list_rejections: Mapping[str, int]
    methods: Mapping[str, int]
    candidates_with_url: int
    precision: MeasuredValue | None

    @property
    def name(self) -> str:
        """Name of the dataset in its configuration."""
        return str(self.root["name"])

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        names = next(iter(self.sets.values())).about["class_names"]
        return list(map(str, names))

    @property
    def sets(self) -> dict[str, Manifest]:
        """The published sets, the test set included."""
        return {name: each for name, each in self.manifests.items() if name != SHARED_IMAGES}

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """The entry of each set, and of the shared images, in the manifest of the published dataset."""
        return {
            name: {**self.root["sets"][name], "rows": manifest.rows, "manifest_sha256": manifest.sha256}
            for name, manifest in self.manifests.items()
        }


def read_facts(build: str, config: BuildConfig, names: Sequence[str] = ()) -> BuildFacts:
    """Read the facts of a finished build; `names`: the training sets to publish (default: all).

    Raises DataError if a table is missing, older than its inputs, of another build than those beside it, or made from
    another configuration.
    """
    layout = Layout(build)
    if old := outdated(build):
        raise DataError(f"{build}: {'; '.join(old)} (or build), then publish")
    root, entries = read_root(layout.dataset)
    _check_version(layout)
    _check_config(root, config, layout.dataset)
    if unknown := sorted(set(names) - set(entries)):
        raise DataError(
            f"{layout.dataset}: has no set {unknown[0]!r}; its sets are {', '.join(sorted(entries))}"
        )
    chosen = [name for name in entries if not names or name in {*names, TEST_SET, SHARED_IMAGES}]
    manifests = {name: _set_manifest(layout.dataset, name, entries[name]) for name in chosen}
    stages = {
        "ingest": layout.images, "aggregate": layout.verdicts, "dedupe": layout.duplicates, "split": layout.dataset,
    }  # fmt: skip
    methods: Counter[str] = Counter()
    with_url = 0
    for part in directory.read_shards(layout.retrievals, ["source", "method", "url"]):
        web = part.filter(pc.equal(part["source"], "web"))
        methods.update(_counts(pc.fill_null(web["method"], "not stated")))
        with_url += pc.sum(pc.not_equal(pc.fill_null(web["url"], ""), "")).as_py() or 0
    return BuildFacts(
        root.about,
        manifests,
        {stage: _config_of(folder) for stage, folder in stages.items()},
        _vote_facts(layout),
        _by_frequency(_column_counts(layout.rejections, "code")),
        _by_frequency(methods),
        with_url,
        _precision(layout.retrieval_precision),
    )


def _set_manifest(dataset: str, name: str, entry: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a set. Raises DataError unless it is the one that its entry in the dataset's manifest states."""
    folder = files.join(dataset, name)
    manifest = directory.read_manifest(folder) if name == SHARED_IMAGES else read_set_manifest(dataset, name)
    if files.sha256(files.join(folder, MANIFEST)) != entry["manifest_sha256"]:
        raise DataError(
            f"{files.join(folder, MANIFEST)}: is not the one that the manifest of the dataset names, since split was "
            "interrupted or the file was changed; run split (or build), then publish"
        )
    return manifest


def _check_version(layout: Layout) -> None:
    """Raise DataError if the sets were written by another version of this project, whose columns may differ."""
    written = read_set_manifest(layout.dataset, TEST_SET).about.get("versions")
    if not isinstance(written, dict) or written.get("split") != STAGE_VERSIONS["split"]:
        raise DataError(
            f"{layout.dataset}: built by another version of this project; run build again, then publish"
        )


def _check_config(root: Manifest, config: BuildConfig, dataset: str) -> None:
    """Raise DataError if the dataset was built from other values than those of the configuration."""
    stated = root.about.get("config")
    for key, value in stage_values(config, "split").items():
        found = stated.get(key) if isinstance(stated, dict) else None
        pairs = [(key, found, value)]
        if isinstance(found, dict) and isinstance(value, dict):
            pairs = [(f"{key}.{inner}", found[inner], value[inner]) for inner in value if inner in found]
        for path, of_build, of_config in pairs:
            if of_build != of_config:
                raise DataError(
                    f"{files.join(dataset, MANIFEST)}: the dataset was built with {path}: {of_build!r}, the configuration has "
                    f"{of_config!r}; give the configuration of the build, or run build again"
                )


def _config_of(folder: str) -> Mapping[str, Any]:
    config = directory.read_manifest(folder).about.get("config")
    return config if isinstance(config, dict) else {}


def _vote_facts(layout: Layout) -> VoteFacts:
    verdicts: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    per_question = np.zeros(0, np.int64)
    for part in directory.read_shards(layout.verdicts, ["verdict", "yes", "no", "unsure"]):
        verdicts.update(_counts(part["verdict"]))
        columns = {name: part[name].to_numpy().astype(np.int64) for name in ("yes", "no", "unsure")}
        answers.update({name: int(values.sum()) for name, values in columns.items()})
        counts = np.bincount(sum(columns.values(), np.zeros(part.num_rows, np.int64)))
        longer = max(len(counts), len(per_question))
        per_question = np.pad(per_question, (0, longer - len(per_question))) + np.pad(
            counts, (0, longer - len(counts))
        )
    workers = suspicious = 0
    for part in directory.read_shards(layout.workers, ["suspicion", "answers"]):
        part = part.filter(pc.greater(part["answers"], 0))  # others have answered gold questions only
        workers += part.num_rows
        suspicious += part.num_rows - part["suspicion"].null_count
    agreement: dict[str, MeasuredValue] = {}
    by_class: dict[str, MeasuredValue] = {}
    for part in directory.read_shards(layout.agreement, ["class_name", "measure", "value", "low", "high"]):
        for row in part.to_pylist():
            if row["value"] is None:
                continue
            estimate = MeasuredValue(row["value"], row["low"], row["high"])
            if row["class_name"] is None:
                agreement[row["measure"]] = estimate
            elif row["measure"] == "krippendorff_alpha":
                by_class[row["class_name"]] = estimate
    return VoteFacts(
        workers,
        suspicious,
        sum(answers.values()),
        {number: int(count) for number, count in enumerate(per_question) if count},
        dict(verdicts),
        dict(answers),
        {name: agreement[name] for name in OVERALL_MEASURES if name in agreement},
        by_class,
        _by_frequency(_column_counts(layout.vote_rejections, "code")),
    )


def _precision(folder: str) -> MeasuredValue | None:
    yes = no = 0
    for part in directory.read_shards(folder, ["class_name", "yes", "no"]):
        whole = part.filter(pc.is_null(part["class_name"]))
        yes += pc.sum(whole["yes"]).as_py() or 0
        no += pc.sum(whole["no"]).as_py() or 0
    return share(yes, yes + no)


def share(part: int, whole: int) -> MeasuredValue | None:
    """Return a share with its 95 % Wilson interval, or None if `whole` is 0."""
    if not whole:
        return None
    value, low, high = (float(bound[0]) for bound in wilson_interval(np.array([part]), np.array([whole])))
    return MeasuredValue(value, low, high)


def _column_counts(folder: str, column: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for part in directory.read_shards(folder, [column]):
        counts.update(_counts(part[column]))
    return counts


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def _by_frequency(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
