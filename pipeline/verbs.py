"""What each verb does, given its parsed arguments; `beam` are the flags that are not ours."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from common.command_line import FAILED, OK
from common.errors import UsageError
from pipeline.published.verbs import run_from_cifar_n, run_import_cnwl
from pipeline.retrieve.verbs import run_list_folder, run_retrieve
from schemas.rejection import CODES

STAGES = ("fetch", "ingest", "aggregate", "dedupe", "split")
Say = Callable[[str], None]
Verb = Callable[[argparse.Namespace, list[str], Say], int]


def stages(arguments: argparse.Namespace, beam: list[str], say: Say) -> int:
    """Run one stage, or all of them."""
    from pipeline import build
    from pipeline.config import load_config
    from pipeline.running.dataflow_jobs import TemplateStaged

    config = load_config(arguments.config, arguments.set)
    chosen = {"build": STAGES, "ingest": ("fetch", "ingest")}.get(arguments.verb, (arguments.verb,))
    if any(flag.startswith("--template_location") for flag in beam):
        chosen = (arguments.verb,)  # a template is one job
    budget = getattr(arguments, "next_questions", None)
    if budget is not None and budget < 1:
        raise UsageError(f"--next-questions is a budget of 1 answer or more, got {budget}")
    retry = [code.strip() for code in getattr(arguments, "retry", "").split(",") if code.strip()]
    for code in retry:
        if code not in CODES:
            near = get_close_matches(code, CODES, n=1)
            raise UsageError(f"--retry: there is no code {code!r}" + (f"; {near[0]}?" if near else ""))
    if arguments.on_interrupt != "cancel":
        beam = [*beam, f"--on_interrupt={arguments.on_interrupt}"]
    if arguments.dry_run:
        return _dry_run(arguments, beam, chosen, say)
    try:
        result = build.run(config, arguments.output, beam, chosen, arguments.force, say, retry)
    except TemplateStaged as staged:
        say(f"staged    {chosen[0]} is written to {staged}, and not started")
        return OK
    if budget is not None:
        from pipeline.aggregate.question_files import write_next_questions

        written, questions = write_next_questions(config, arguments.output, budget, arguments.format)
        answers = sum(questions["votes_wanted"].to_pylist())
        result["next_questions"] = {"files": written, "questions": questions.num_rows, "answers": answers}
        say(f"next      {questions.num_rows:,} questions for {answers:,} answers: {', '.join(written)}")
    show_json(arguments, result)
    return OK


def _dry_run(arguments: argparse.Namespace, beam: list[str], chosen: Sequence[str], say: Say) -> int:
    """Show what the stages would do, after all checks."""
    from pipeline import build, plan
    from pipeline.config import load_config

    config = load_config(arguments.config, arguments.set)
    options = build.check(config, arguments.output, beam, chosen)
    found = plan.dry_run(config, arguments.output, options, chosen, arguments.force)
    say(f"dry run: nothing is written or submitted\nrunner    {found['runner']}")
    for name, value in found["options"].items():
        say(f"          {name}={value}")
    for name, stage in found["stages"].items():
        say(f"{name:<9} {stage['state']}")
        say("\n".join(f"          {what:<6} {path}" for what in ("reads", "writes") for path in stage[what]))
    show_json(arguments, found)
    return OK


def verify(arguments: argparse.Namespace, beam: list[str], say: Say) -> int:
    """Verify a dataset, in this process or, with flags of Beam, as a job; FAILED if a rule is broken."""
    import sys

    from pipeline.layout import Layout
    from pipeline.report.freshness import outdated
    from pipeline.verify.dataset import verify

    start = time.monotonic()
    dataset = arguments.dataset.rstrip("/")
    if beam:
        from pipeline.jobs import verify as job

        found = job.run(dataset, beam)
    else:
        found = verify(dataset)
    build = dataset.rpartition("/")[0]
    notes = outdated(build) if Layout(build).dataset == dataset else []
    result = {
        "ok": not found.problems,
        "problems": found.problems,
        **found.counts,
        "manifest_sha256": found.root_sha256,
        "leak_rules": found.leak_rules,
        "notes": notes,
    }
    show_json(arguments, result)
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
    facts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found.counts.items())
    say(f"{'FAILED' if found.problems else 'ok'}: {facts} ({time.monotonic() - start:.1f} s)")
    say(f"dataset manifest sha256 {found.root_sha256}")
    changed = {name: f" (default: {value})" for name, value in found.changed_rules.items()}
    rules = ", ".join(f"{name} {value}{changed.get(name, '')}" for name, value in found.leak_rules.items())
    say(f"leak rules: {rules or 'none'}")
    for note in notes:
        say(f"note: {note}")
    return FAILED if found.problems else OK


def report(arguments: argparse.Namespace, _beam: list[str], say: Say) -> int:
    """Write the page of what became of everything."""
    from pipeline.report.freshness import outdated
    from pipeline.report.html import write_report

    written, notes = write_report(arguments.build, arguments.output), outdated(arguments.build)
    say(written)
    for note in notes:
        say(f"note: {note}")
    show_json(arguments, {"file": written, "notes": notes})
    return OK


def view(arguments: argparse.Namespace, _beam: list[str], say: Say) -> int:
    """Serve the pictures of a build until interrupted."""
    from pipeline.report.freshness import outdated
    from pipeline.view.server import serve

    def tell(url: str) -> None:
        notes = outdated(arguments.build)
        say("\n".join([url, *(f"note: {note}" for note in notes)]))
        show_json(arguments, {"url": url, "notes": notes})

    serve(arguments.build, arguments.port, tell)
    return OK


def export(arguments: argparse.Namespace, _beam: list[str], say: Say) -> int:
    """Write a set in a form of others."""
    from pipeline.shards.export import export

    told = export(arguments.dataset, arguments.set_name, arguments.format, arguments.output)
    say(f"{told['rows']:,} examples in {len(told['files'])} files below {arguments.output}")
    show_json(arguments, told)
    return OK


def telling(run: Callable[[argparse.Namespace, Say], dict[str, Any]]) -> Verb:
    """A verb that only has something to tell when it is done."""

    def verb(arguments: argparse.Namespace, _beam: list[str], say: Say) -> int:
        show_json(arguments, run(arguments, say))
        return OK

    return verb


def show_json(arguments: argparse.Namespace, result: Any) -> None:
    """Print the result, if it is wanted as JSON."""
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False))


VERBS: dict[str, Verb] = {
    **dict.fromkeys((*STAGES, "build"), stages),
    "verify": verify, "report": report, "view": view, "export": export,
    "retrieve": telling(run_retrieve), "list-folder": telling(run_list_folder),
    "import-cnwl": telling(run_import_cnwl), "from-cifar-n": telling(run_from_cifar_n),
}  # fmt: skip
