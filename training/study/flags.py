"""The flags of the verbs that train, draw and plan studies: study, plot, report and power."""

import argparse
from pathlib import Path
from typing import Any

from common.command_line import add_overrides, add_verb
from training.flags import add_data, add_resident, finite, inner_share, positive, positive_seconds


def add_study_verbs(verbs: Any) -> None:
    """Add the four verbs to the subparsers `verbs`."""
    _add_study(verbs)
    _add_plot(verbs)
    _add_report(verbs)
    _add_power(verbs)


def _add_study(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "study",
        "train a grid of colors × levels × methods × networks × settings × seeds",
        "python -m training study --data dataset --output study --levels 0.2 0.4 --colors red blue --seeds 0 1 2 --jobs 2",
        "Finished runs are skipped, stopped runs are resumed, failed runs are tried again. Several commands on one machine\n"
        "may share a folder; across machines, give each command its --shard.",
    )
    add_data(sub)
    sub.add_argument("--output", type=Path, required=True, metavar="STUDY", help="folder of the study")
    sub.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML file of a study (docs/reference/config.md); flags replace its values",
    )
    _add_grid(sub)
    _add_scheduling(sub)


def _add_grid(sub: argparse.ArgumentParser) -> None:
    """Add the flags that say which runs there are."""
    sub.add_argument(
        "--levels",
        type=finite,
        nargs="+",
        metavar="P",
        help="noise levels from 0 up to less than 1, such as 0.0 0.4",
    )
    sub.add_argument("--colors", nargs="+", metavar="NAME", help="colors of noise (default: red blue)")
    sub.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="training methods (default: vanilla mixup mentornet mentormix)",
    )
    sub.add_argument("--networks", nargs="+", metavar="NAME", help="networks (default: that of the recipe)")
    sub.add_argument("--seeds", type=int, nargs="+", metavar="N", help="seeds (default: 0 1 2)")
    sub.add_argument("--recipe", metavar="NAME", help="recipe of all runs (default: auto)")
    add_overrides(sub, "the recipe in all runs", "epochs=10")


def _add_scheduling(sub: argparse.ArgumentParser) -> None:
    """Add the flags that say which runs are trained when, and how many at a time."""
    sub.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="number of runs at a time, which share the cores, or the GPU (default: %(default)s)",
    )
    add_resident(sub)
    sub.add_argument(
        "--shard",
        metavar="I/N",
        help="train only part I of N of the runs, numbered from 1: one command per part, in one folder or in several "
        "that `plot` merges. For a Slurm job array: --array=1-N and --shard $SLURM_ARRAY_TASK_ID/N",
    )
    sub.add_argument(
        "--order",
        choices=("grid", "priority"),
        default="grid",
        help="grid: set by set; priority: the first seed of every cell in the order of --levels, then the second "
        "seeds, and so on (default: %(default)s)",
    )
    sub.add_argument(
        "--budget",
        type=positive_seconds,
        metavar="SECONDS",
        help="stop after this time, with checkpoints of the runs under way; exit code 75 if runs are left "
        "(default: no limit)",
    )
    sub.add_argument(
        "--plan",
        action="store_true",
        help="train nothing; print the number of runs in each state and the time left",
    )


def _add_plot(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "plot",
        "draw the figures and tables of a study, and a Markdown page with them",
        "python -m training plot study",
    )
    _add_finished_study(sub)


def _add_report(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "report",
        "write an HTML page of a study: figures, tables, and all runs",
        "python -m training report study",
    )
    _add_finished_study(sub)


def _add_finished_study(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "studies",
        type=Path,
        nargs="+",
        metavar="STUDY",
        help="folder of the study; several folders if its shards were trained into several",
    )
    sub.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (default: the first STUDY)"
    )


def _add_power(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "power",
        "compute how many test images, seeds and votes a question needs",
        "python -m training power --accuracy 0.7 --test-images 1000 --difference 0.02 --seeds 3 --deviation 0.01",
        "Formulas, sources and limits: docs/explanation/power.md. Each part needs its own flags, and is left out without.",
    )
    sub.add_argument("--accuracy", type=inner_share, metavar="P", help="expected test accuracy, such as 0.7")
    sub.add_argument("--test-images", type=positive, metavar="N", help="number of test images")
    sub.add_argument(
        "--difference", type=inner_share, metavar="D", help="difference of accuracy to be found, such as 0.02"
    )
    sub.add_argument(
        "--disagreement",
        type=inner_share,
        metavar="D",
        help="share of test images that exactly one of the two networks gets right (default: that of independent errors)",
    )
    sub.add_argument(
        "--seeds", type=positive, metavar="N", help="number of seeds, with a run of each method per seed"
    )
    sub.add_argument(
        "--deviation",
        type=inner_share,
        metavar="S",
        help="standard deviation over seeds of the difference of two methods, such as 0.01",
    )
    sub.add_argument(
        "--study",
        type=Path,
        metavar="STUDY",
        help="folder of a study that gives accuracy, test images and deviation where these flags are missing",
    )
    sub.add_argument(
        "--power",
        type=inner_share,
        default=0.8,
        metavar="P",
        help="probability with which the difference should be found (default: %(default)s)",
    )
    _add_noise_measurement(sub)


def _add_noise_measurement(sub: argparse.ArgumentParser) -> None:
    """Add the flags of `power` that say how a noise level is measured by votes."""
    sub.add_argument(
        "--agreement",
        type=inner_share,
        metavar="P",
        help="share of pairs of votes on one image that agree in a pilot, from 0.5 to less than 1",
    )
    sub.add_argument(
        "--noise-level",
        type=inner_share,
        default=0.4,
        metavar="P",
        help="noise level to measure (default: %(default)s)",
    )
    sub.add_argument(
        "--half-width",
        type=inner_share,
        default=0.02,
        metavar="X",
        help="half of the 95%% interval of the noise level (default: %(default)s)",
    )
    sub.add_argument(
        "--votes", type=positive, nargs="+", metavar="N", help="votes per image, odd (default: 1 3 5 7)"
    )
