"""The build: all stages one after the other, each only if its inputs have changed, and what they counted."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.jobs import dedupe, ingest, label, split
from pipeline.layout import Layout
from pipeline.running.fork_server import can_fork, standing_by
from pipeline.running.lock import held
from pipeline.running.options import may_have_processes
from pipeline.running.stage import counts


def run(
    config: BuildConfig,
    output: str,
    beam_arguments: list[str],
    stages: Sequence[str],
    force: bool,
    say: Callable[[str], None],
    retry: Sequence[str] = (),
) -> dict[str, Any]:
    """Run `stages` in order, tell what each has done through `say`, and return their counts by stage.

    `retry`: rejections that ingest is to give another try. Raises UsageError while another process does the same.
    """
    steps: dict[str, Callable[..., dict[str, int]]] = {
        "ingest": partial(_ingest, retry=retry),
        "label": _label,
        "dedupe": _dedupe,
        "split": _split,
    }
    result: dict[str, Any] = {}
    files.check_output(output)
    processes = may_have_processes(beam_arguments)  # a wrong flag is told before anything is touched
    with standing_by() if processes and can_fork() else nullcontext():
        if "label" in stages:
            label.check_inputs(config)  # and a wrong vote file before hours of ingest
        with held(output):
            for name in stages:
                start = time.monotonic()
                result[name] = steps[name](config, output, beam_arguments, force)
                seconds = time.monotonic() - start
                text = ", ".join(
                    f"{count:,} {what.replace('_', ' ')}" for what, count in result[name].items() if count
                )
                say(f"{name:<7} {text} ({seconds:.1f} s)")
    if "split" in stages:
        dataset = Layout(output).dataset
        say(f"dataset {dataset}")
        result["dataset"] = dataset
    return result


def _ingest(
    config: BuildConfig, output: str, beam_arguments: list[str], force: bool, retry: Sequence[str]
) -> dict[str, int]:
    tables = ingest.run(config, output, beam_arguments, force, retry)
    rejected = {f"rejected_{code}": n for code, n in counts(tables["rejections"]).items()}
    rows_in = counts(tables["retrievals"])["rows_in"]
    return {
        "rows_in": rows_in,
        "rows": tables["retrievals"].rows,
        "images": tables["images"].rows,
        **rejected,
    }


def _label(config: BuildConfig, output: str, beam_arguments: list[str], force: bool) -> dict[str, int]:
    tables = label.run(config, output, beam_arguments, force)
    verdicts = {k: n for k, n in counts(tables["verdicts"]).items() if k not in ("votes", "votes_in")}
    rejected = {f"rejected_{code}": n for code, n in counts(tables["rejections"]).items()}
    votes_in = counts(tables["verdicts"]).get("votes_in", 0)  # a build of blue sets alone needs no votes
    return {"votes_in": votes_in, **verdicts, "workers": tables["workers"].rows, **rejected}


def _dedupe(config: BuildConfig, output: str, beam_arguments: list[str], force: bool) -> dict[str, int]:
    return counts(dedupe.run(config, output, beam_arguments, force))


def _split(config: BuildConfig, output: str, beam_arguments: list[str], force: bool) -> dict[str, int]:
    manifest = split.run(config, output, beam_arguments, force)
    sets = {
        name: entry for name, entry in manifest.about["splits"].items() if entry["noise_level"] is not None
    }
    return {
        **manifest.about["funnel"],
        "sets": len(sets),
        "examples": sum(entry["rows"] for entry in sets.values()),
        "listed_examples_without_image": sum(entry.get("not_ingested", 0) for entry in sets.values()),
    }
