"""The grid of a study: one cell per color, noise level, method, network, setting and seed, and the runs behind them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from common.config import merge, percent_hint
from common.errors import DataError
from schemas.example import set_name
from training.config import MethodName, TrainConfig
from training.data.shards import read_manifest, set_identity
from training.recipes.registry import configure
from training.study.shard import ShardOfRuns


@dataclass(frozen=True)
class StudyConfig:
    """The values that a study varies, and the training configuration that its runs share."""

    RENAMED: ClassVar = {"colours": "colors", "set": "overrides"}

    levels: tuple[float, ...]
    """Noise levels, from 0 up to less than 1, such as 0.0, 0.2, 0.4. The dataset must have the set COLOR-LEVEL, such as
    red-0.20 or red-0.125, for each level and color."""

    colors: tuple[str, ...] = ("red", "blue")
    """Colors of noise: red, red-text, red-closed, red-open, blue, blue-asymmetric, blue-instance."""

    methods: tuple[MethodName, ...] = ("vanilla", "mixup", "mentornet", "mentormix")
    """Training methods to compare."""

    networks: tuple[str, ...] = ()
    """Networks to compare, as values of network.name. Empty: the network of the recipe."""

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Ways to train, by name. Each maps keys of the training configuration to values, which are applied after
    `overrides`; the key `recipe` selects another recipe, and `methods` those of the study's methods that are trained
    in this way. Example: {scratch: {}, fine-tuned: {network: {weights: pretrained}, methods: [vanilla]}}. Empty: a
    single way to train, which `overrides` alone changes."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds. Each cell is trained once per seed; means and intervals are taken over the seeds."""

    recipe: str = "auto"
    """Recipe of all runs: network, schedule and augmentation. auto: the recipe that suits the machine and the images."""

    overrides: dict[str, Any] = field(default_factory=dict)
    """Keys of the training configuration (nested) and their values, which replace those of the recipe in all runs."""

    test: str = "test"
    """Name of the test set."""

    def __post_init__(self) -> None:
        for name in ("levels", "colors", "methods", "seeds", "networks"):
            values = getattr(self, name)
            if not values and name != "networks":
                raise ValueError(f"{name} is empty; give at least one value")
            if len(set(values)) < len(values):
                raise ValueError(
                    f"{name} has a value twice: {', '.join(map(str, values))}; remove the repetition"
                )
        for level in self.levels:
            if not 0 <= level < 1:
                raise ValueError(
                    f"levels are shares of wrong labels from 0 up to less than 1, got {level:g}{percent_hint(level)}"
                )
        self._check_changes("overrides", self.overrides)
        for name, changes in self.settings.items():
            if not name:
                raise ValueError("settings has an empty name; give the setting a name")
            self._check_changes(f"settings.{name}", changes)
            if not isinstance(changes.get("recipe", ""), str):
                raise ValueError(
                    f"settings.{name}.recipe is {changes['recipe']!r}; give the name of a recipe"
                )
            methods = changes.get("methods", list(self.methods))
            if (
                not isinstance(methods, list)
                or not methods
                or not all(one in self.methods for one in methods)
            ):
                raise ValueError(
                    f"settings.{name}.methods is {methods!r}; give a list of the study's methods: "
                    f"{', '.join(self.methods)}"
                )

    def _check_changes(self, key: str, changes: Mapping[str, Any]) -> None:
        """Raise ValueError if `changes` of the training configuration, the value of `key`, set what the study varies."""
        network = changes.get("network", {})
        if not isinstance(network, Mapping):
            raise ValueError(
                f"{key}.network is {network!r}; give keys and values, such as {{name: small_cnn}}"
            )
        varied = [name for name in ("method", "seed") if name in changes]
        if self.networks and "name" in network:
            varied.append("network.name")
        if varied:
            raise ValueError(f"{key}.{varied[0]}: the study varies this key; remove it")


@dataclass(frozen=True)
class Run:
    """One training run; its name holds a digest of its configuration and of the sets that it reads."""

    set_name: str
    config: TrainConfig
    name: str
    images: int
    test_images: int = 0


@dataclass(frozen=True)
class Cell:
    """One row of the result table, and its run; cells without noise share their runs among the colors."""

    color: str
    noise_level: float
    method: str
    network: str
    setting: str
    seed: int
    run: Run


def make_cells(study: StudyConfig, data: Path) -> list[Cell]:
    """Return the cells of a study on the sets below `data`, ordered by set so that each set is read once.

    Without noise all colors have the same set, so its runs are shared. Raises DataError for a missing set.
    """
    test_manifest, digest = read_manifest(data / study.test)
    test_identity = set_identity(test_manifest, digest)
    cells = []
    for level in study.levels:
        for color in study.colors:
            named = _set_name(study, data, color, level)
            manifest, digest = read_manifest(data / named)
            if abs(manifest.about["noise_level"] - level) > 1e-9:
                raise DataError(
                    f"{data / named}: the manifest has noise level {manifest.about['noise_level']}, the name "
                    f"{level:g}; rename the folder, or build the set again"
                )
            identity = set_identity(manifest, digest)
            for setting, config in _configurations(study, level):
                name = f"{named}-{config.method}-{config.seed}-{config.digest(identity, test_identity)}"
                run = Run(named, config, name, manifest.rows, test_manifest.rows)
                cells.append(
                    Cell(color, level, config.method, config.network.name, setting, config.seed, run)
                )
    return sorted(cells, key=lambda cell: cell.run.set_name)


def unique_runs(cells: Iterable[Cell]) -> list[Run]:
    """Return the runs of cells in their order, each once."""
    return list({cell.run.name: cell.run for cell in cells}.values())


def select_shard(runs: Iterable[Run], shard: ShardOfRuns) -> list[Run]:
    """Return the runs of one shard, in the order of `runs`.

    The n shards have every run exactly once. Runs of one network, method and number of images are dealt out in turn,
    so the shards cost about the same. The choice depends on the grid alone, not on what has finished.
    """

    def cost_key(run: Run) -> tuple[str, str, int, str]:
        return run.config.network.name, run.config.method, -run.images * run.config.epochs, run.name

    runs = list(runs)
    selected = {run.name for run in sorted(runs, key=cost_key)[shard.number - 1 :: shard.count]}
    return [run for run in runs if run.name in selected]


def order_by_priority(runs: Iterable[Run], study: StudyConfig) -> list[Run]:
    """Return the runs ordered so that the first seed of every cell comes first, then the second seeds, and so on.

    Runs of one seed are in the order of the study's levels.
    """
    order = {
        set_name(color, level): number for number, level in enumerate(study.levels) for color in study.colors
    }

    def rank(run: Run) -> tuple[int, int]:
        return study.seeds.index(run.config.seed), order[run.set_name]

    return sorted(runs, key=rank)


def _configurations(study: StudyConfig, level: float) -> Iterator[tuple[str, TrainConfig]]:
    """Yield the setting and the training configuration of every run on one set."""
    networks: list[dict[str, Any]] = [{"network": {"name": name}} for name in study.networks] or [{}]
    settings = study.settings or {"": {}}
    axes = itertools.product(settings.items(), networks, study.methods, study.seeds)
    for (setting, changes), network, method, seed in axes:
        if method not in changes.get("methods", study.methods):
            continue
        recipe = changes.get("recipe", study.recipe)
        own = {key: value for key, value in changes.items() if key not in ("recipe", "methods")}
        overrides = merge(merge(study.overrides, own), network)
        parts = ["overrides"] * bool(study.overrides) + [f"settings.{setting}"] * bool(setting)
        where = " with ".join(parts) or "study"
        config = configure(recipe, level, {**overrides, "method": method, "seed": seed}, where)
        yield setting or _default_setting(config), config


def _default_setting(config: TrainConfig) -> str:
    """Return the name of the way to train in a study without `settings`."""
    if config.network.frozen:
        return "linear-probe"
    return "fine-tuned" if config.network.weights else "scratch"


def set_names(study: StudyConfig) -> list[str]:
    """Return the names of the sets that a study reads, if the first color has the set without noise."""
    noisy = [set_name(color, level) for color in study.colors for level in study.levels if level]
    return [study.test, *noisy, *(set_name(study.colors[0], 0.0) for level in study.levels if not level)]


def _set_name(study: StudyConfig, data: Path, color: str, level: float) -> str:
    """Return the name of the set of a color and level; without noise that of the first color that has one."""
    if level == 0:
        existing = [color for color in study.colors if (data / set_name(color, level)).is_dir()]
        color = existing[0] if existing else study.colors[0]
    return set_name(color, level)
