"""The build: all stages one after the other, each only if its inputs have changed, and what they counted."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.jobs import dedupe, fetch, ingest, label, split
from pipeline.layout import Layout
from pipeline.running.lock import held
from pipeline.running.options import beam_options
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

    `retry`: rejection codes whose URLs are fetched again. Raises UsageError while another process does the same.
    """
    steps: dict[str, Callable[..., dict[str, int] | None]] = {
        "fetch": partial(_fetch, retry=retry, alone="ingest" not in stages),
        "ingest": _ingest,
        "label": _label,
        "dedupe": _dedupe,
        "split": _split,
    }
    result: dict[str, Any] = {}
    files.check_output(output)
    beam_options(beam_arguments)  # a wrong flag is reported before anything is touched
    if "label" in stages:
        label.check_inputs(config)  # and a wrong vote file before hours of ingest
    with held(output):
        for name in stages:
            start = time.monotonic()
            counted = steps[name](config, output, beam_arguments, force)
            if counted is None:
                continue
            result[name] = counted
            seconds = time.monotonic() - start
            text = ", ".join(
                f"{count:,} {what.replace('_', ' ')}" for what, count in counted.items() if count
            )
            say(f"{name:<7} {text} ({seconds:.1f} s)")
    if "split" in stages:
        dataset = Layout(output).dataset
        say(f"dataset {dataset}")
        result["dataset"] = dataset
    return result


def _fetch(
    config: BuildConfig,
    output: str,
    beam_arguments: list[str],
    force: bool,
    retry: Sequence[str],
    alone: bool,
) -> dict[str, int] | None:
    needed = alone or not ingest.is_up_to_date(config, output)
    table = fetch.run(config, output, beam_arguments, force, retry, bodies_needed=needed)
    if table is None:
        return None
    found = counts(table)
    failed = {f"failed_{code}": n for code, n in found.items() if code != "bodies"}
    return {"URLs": table.rows, "fetched": found.get("bodies", 0), **failed}


def _ingest(config: BuildConfig, output: str, beam_arguments: list[str], force: bool) -> dict[str, int]:
    tables = ingest.run(config, output, beam_arguments, force)
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
