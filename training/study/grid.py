"""The grid of a study: which runs answer for which cell of color × level × method × network × setting × seed."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from common.config import merge, percent_hint
from common.errors import DataError
from training.config import MethodName, TrainConfig
from training.data.shards import read_manifest
from training.recipes.choose import configure


@dataclass(frozen=True)
class StudyConfig:
    """What a study varies; the same keys stand in its YAML file."""

    RENAMED: ClassVar = {"colours": "colors"}

    levels: tuple[float, ...]
    """Noise levels, such as 0.0, 0.2, 0.4; each needs the folder COLOR-LEVEL with two decimals."""

    colors: tuple[str, ...] = ("red", "blue")
    """Kinds of noise, as the folders are called: red, red-text, blue, blue-asymmetric."""

    methods: tuple[MethodName, ...] = ("vanilla", "mixup", "mentornet", "mentormix")
    """Training methods to compare."""

    networks: tuple[str, ...] = ()
    """Networks to compare, as network.name has them; empty: the recipe's alone."""

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Ways to train, by name, each a set of changes to the recipe, laid on `set`; the key `recipe` names another
    recipe: {scratch: {}, fine-tuned: {network: {weights: pretrained}, epochs: 20}}. Empty: `set` alone."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Each cell is trained once per seed; mean and spread are taken over them."""

    recipe: str = "cifar10n_cpu"
    """Network, schedule and augmentation for all runs."""

    set: dict[str, Any] = field(default_factory=dict)
    """Changes to the recipe, with nested keys, for all runs."""

    test: str = "test"
    """Folder of the test set."""

    def __post_init__(self) -> None:
        for name in ("levels", "colors", "methods", "seeds", "networks"):
            values = getattr(self, name)
            if not values and name != "networks":
                raise ValueError(f"{name} is empty; name at least one")
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one twice: {', '.join(map(str, values))}")
        for level in self.levels:
            if not 0 <= level < 1:
                raise ValueError(
                    f"levels are shares of wrong labels from 0 up to less than 1, got {level:g}{percent_hint(level)}"
                )
        for name, changes in {
            "set": self.set,
            **{f"settings.{k}": v for k, v in self.settings.items()},
        }.items():
            network = changes.get("network")
            fixed = {"method", "seed"} & changes.keys()
            if self.networks and isinstance(network, Mapping) and "name" in network:
                fixed.add("network.name")
            if fixed:
                raise ValueError(f"{name}.{fixed.pop()}: the study varies this itself")


@dataclass(frozen=True)
class Run:
    """One training run; its name holds a digest of its configuration and of the bytes it reads."""

    split: str
    config: TrainConfig
    name: str
    images: int


@dataclass(frozen=True)
class Cell:
    """One row of the result table, and the run that answers for it."""

    color: str
    noise_level: float
    method: str
    network: str
    setting: str
    seed: int
    run: Run


def plan(study: StudyConfig, data: Path) -> list[Cell]:
    """Lay out the cells of a study on the sets below `data`, ordered by split so that each is read once.

    Without noise all colors are the same set, so its runs are shared. Raises DataError for a missing set.
    """
    _, test_digest = read_manifest(data / study.test)
    cells = []
    for level in study.levels:
        for color in study.colors:
            split = _split(study, data, color, level)
            manifest, digest = read_manifest(data / split)
            if abs(manifest.about["noise_level"] - level) > 1e-9:
                raise DataError(
                    f"{data / split}: its manifest says noise level {manifest.about['noise_level']}; give the "
                    "folder its name back, or build the set again"
                )
            for setting, config in _configurations(study, level):
                name = f"{split}-{config.method}-{config.seed}-{config.digest(digest, test_digest)}"
                place = (config.method, config.network.name, setting, config.seed)
                cells.append(Cell(color, level, *place, Run(split, config, name, manifest.rows)))
    return sorted(cells, key=lambda cell: cell.run.split)


def _configurations(study: StudyConfig, level: float) -> Iterator[tuple[str, TrainConfig]]:
    """Yield setting and configuration of every run on one set."""
    networks: list[dict[str, Any]] = [{"network": {"name": name}} for name in study.networks] or [{}]
    settings = study.settings or {"": {}}
    axes = itertools.product(settings.items(), networks, study.methods, study.seeds)
    for (setting, changes), network, method, seed in axes:
        recipe = changes.get("recipe", study.recipe)
        over = merge(merge(study.set, {k: v for k, v in changes.items() if k != "recipe"}), network)
        config = configure(recipe, level, {**over, "method": method, "seed": seed})
        yield setting or _setting(config), config


def _setting(config: TrainConfig) -> str:
    """Name the way to train of a study that has no `settings`."""
    if config.network.frozen:
        return "linear-probe"
    return "fine-tuned" if config.network.weights else "scratch"


def splits(study: StudyConfig) -> list[str]:
    """Return the names of the sets that a study reads, if the first color has the set without noise."""
    noisy = [f"{color}-{level:.2f}" for color in study.colors for level in study.levels if level]
    return [study.test, *noisy, *(f"{study.colors[0]}-{0:.2f}" for level in study.levels if not level)]


def _split(study: StudyConfig, data: Path, color: str, level: float) -> str:
    """Name the folder of a cell; without noise that of the first color that has one."""
    if level == 0:
        there = [one for one in study.colors if (data / f"{one}-{level:.2f}").is_dir()]
        color = there[0] if there else study.colors[0]
    return f"{color}-{level:.2f}"
