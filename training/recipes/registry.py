"""Recipes by name, and the configuration of a run from a recipe and overrides."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from common.config import build, merge
from common.errors import UsageError
from training.config import TrainConfig
from training.recipes.cifar import cifar10, cifar100
from training.recipes.cifar10n_cpu import cifar10n_cpu, cifar10n_cpu_released
from training.recipes.fine_tune import fine_tune
from training.recipes.linear_probe import linear_probe
from training.recipes.mini_imagenet_32 import mini_imagenet_32, mini_imagenet_32_released
from training.recipes.resolution_299 import (
    cars_fine_tuned,
    cars_scratch,
    mini_imagenet_fine_tuned,
    mini_imagenet_scratch,
    webvision,
)
from training.recipes.tiny import tiny

RECIPES: dict[str, Callable[[float], TrainConfig]] = {
    recipe.__name__: recipe
    for recipe in (
        cifar10, cifar100, cifar10n_cpu, cifar10n_cpu_released, fine_tune, linear_probe, mini_imagenet_32,
        mini_imagenet_32_released, tiny, mini_imagenet_scratch, mini_imagenet_fine_tuned, cars_scratch, cars_fine_tuned,
        webvision,
    )
}  # fmt: skip


def configure(
    recipe: str, noise_level: float, overrides: Mapping[str, Any], where: str = "config"
) -> TrainConfig:
    """Return the recipe for a noise level, changed by `overrides`.

    Raises UsageError for unknown names and invalid values; the message names the key below `where`.
    """
    if recipe not in RECIPES:
        near = get_close_matches(recipe, RECIPES, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}?" if near else f"recipes: {', '.join(RECIPES)}"
        raise UsageError(f"--recipe: unknown recipe {recipe!r}; {hint}")
    return build(TrainConfig, merge(asdict(RECIPES[recipe](noise_level)), overrides), where)
