"""The public functions of the pipeline, for notebooks and scripts."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.config import merge, parse_yaml
from pipeline import build, files
from pipeline.config import make_config
from pipeline.layout import STAGES
from pipeline.verify.dataset import Verification, verify

__all__ = ["Verification", "build_dataset", "verify_dataset"]


def build_dataset(
    config: str | os.PathLike[str] | Mapping[str, Any],
    output: str | os.PathLike[str],
    *,
    overrides: Mapping[str, Any] | None = None,
    force: bool = False,
    beam: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Build the dataset of a configuration below `output`, as `python -m pipeline build` does.

    `config`: path of a YAML file, or its content; `overrides`: nested keys and values that replace its own. Stages whose
    inputs and configuration did not change since the last build are skipped, unless `force`. `beam`: flags of Beam, such as
    `["--runner=FlinkRunner", …]`. `say` receives a line about each stage.

    Returns `dataset`, the folder of the sets, and for each stage `up_to_date` and its counts. Raises UsageError for a wrong
    configuration or flag, and DataError for missing or unreadable input.
    """
    if isinstance(config, Mapping):
        raw, where = dict(config), "config"
    else:
        where = os.fspath(config)
        raw = parse_yaml(files.read_text(where), where)
    checked = make_config(merge(raw, overrides or {}), where)
    return build.run(checked, os.fspath(output), list(beam), STAGES, force, say or _ignore)


def verify_dataset(dataset: str | os.PathLike[str]) -> Verification:
    """Check levels, nesting, bytes and leaks of a dataset from its files alone, as `python -m pipeline verify` does.

    `problems` of the result is empty if the dataset is right. Raises DataError if the dataset has no readable manifest.
    """
    return verify(os.fspath(dataset))


def _ignore(_line: str) -> None:
    """Discard a progress line."""
