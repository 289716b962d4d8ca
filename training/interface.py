"""Training a built set with one call, for notebooks and scripts."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config import merge
from training.config import MethodName
from training.device import choose_device
from training.features.extract import FEATURES
from training.recipes.default import AUTO
from training.run_length import warn_of_short_runs
from training.train import prepare_run, run_training


def train_network(
    data: str | os.PathLike[str],
    set_name: str,
    output: str | os.PathLike[str],
    *,
    method: MethodName | None = None,
    recipe: str = AUTO,
    overrides: Mapping[str, Any] | None = None,
    test: str = "test",
    resume: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Train on one set and evaluate on `test`, on a GPU if there is one, as `python -m training train` does in one process.

    `data`: folder of the dataset; `output`: folder of the run. `method`: by default that of `overrides`, else vanilla.
    `overrides`: nested keys and values of the configuration,
    such as `{"epochs": 5, "network": {"width": 16}}`, which replace those of the recipe. With `resume` an interrupted
    run continues; a finished one is returned as it is.

    Returns the content of the run's result.json: `final_accuracy` and `best_accuracy` as shares from 0 to 1, `memorized`
    and others. Raises DataError for an unreadable set, UsageError for a wrong configuration or a folder of another run.
    """
    folder, directory, device = Path(data), Path(output), choose_device()
    changes = merge(overrides or {}, {"method": method} if method else {})
    config, sets, _why = prepare_run(folder, set_name, test, recipe, changes, device)
    warn_of_short_runs([(config, len(sets[0]))])
    features = directory.parent / FEATURES
    return run_training(
        config, *sets, directory, device=device, features=features, resume=resume, progress=progress
    )
