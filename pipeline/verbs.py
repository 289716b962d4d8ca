"""Implementation of each verb, given its parsed arguments; `beam` holds the flags for Beam."""

import argparse
import json
import re
import time
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from common.command_line import FAILED, OK
from common.errors import UsageError
from common.plural import counted
from common.terminal import visible_line
from pipeline.audit.verbs import run_audit
from pipeline.layout import STAGES
from pipeline.leaks.verbs import run_leaks
from pipeline.links.verbs import run_check_links
from pipeline.publish.verbs import run_publish
from pipeline.published.verbs import run_from_cifar_n, run_import_cnwl
from pipeline.retrieve.verbs import run_list_folder, run_retrieve, run_retrieve_similar
from pipeline.running.progress import stage_line
from pipeline.vote.verbs import run_vote
from schemas.rejection import CODES

if TYPE_CHECKING:
    from pipeline.config import BuildConfig

Say = Callable[[str], None]
Verb = Callable[[argparse.Namespace, list[str], Say], int]


def run_stages(arguments: argparse.Namespace, beam: list[str], say: Say) -> int:
    """Run one stage or all of them."""
    from pipeline import build
    from pipeline.config import load_config
    from pipeline.running.dataflow_jobs import TemplateStaged

    config = load_config(arguments.config, arguments.set)
    chosen = {"build": STAGES, "ingest": ("fetch", "ingest")}.get(arguments.verb, (arguments.verb,))
    if any(flag.startswith("--template_location") for flag in beam):
        if arguments.verb == "build":
            raise UsageError(
                "--template_location: a template is one job; run a stage, such as ingest, instead of build"
            )
        chosen = (arguments.verb,)
    if arguments.verb == "embed" and not config.embed.weights:
        raise UsageError(
            "embed.weights is not set; name a .safetensors file and its network with embed.network"
        )
    if arguments.verb == "aggregate":
        _check_question_flags(arguments.next_questions, arguments.for_noise)
    retry = _rejection_codes(getattr(arguments, "retry", ""))
    if arguments.on_interrupt != "cancel":
        beam = [*beam, f"--on_interrupt={arguments.on_interrupt}"]
    if arguments.dry_run:
        return _dry_run(arguments, config, beam, chosen, retry, say)
    try:
        result = build.run(config, arguments.output, beam, chosen, arguments.force, say, retry)
    except TemplateStaged as staged:
        say(
            stage_line("staged", f"the template of stage {chosen[0]} is in {staged}; the job was not started")
        )
        return OK
    if arguments.verb == "fetch" and not result:
        say(stage_line("fetch", "no list has a URL; there is nothing to download"))
    if arguments.verb == "aggregate" and arguments.next_questions is not None:
        result["next_questions"] = _list_questions(arguments, config, say)
    print_json(arguments, result)
    return OK


def _rejection_codes(listed: str) -> list[str]:
    """Return the codes of the value of --retry. Raises UsageError for an unknown one."""
    codes = [code.strip() for code in listed.split(",") if code.strip()]
    for code in codes:
        if code not in CODES:
            near = get_close_matches(code, CODES, n=1)
            hint = f"did you mean {near[0]}?" if near else "see docs/reference/rejections.md"
            raise UsageError(f"--retry: unknown rejection code {code!r}; {hint}")
    return codes


def _list_questions(arguments: argparse.Namespace, config: "BuildConfig", say: Say) -> dict[str, Any]:
    """Write the questions of the next round, report them, and return their counts."""
    from pipeline.aggregate.question_files import write_next_questions, write_noise_questions

    budget, tolerance, output = arguments.next_questions, arguments.for_noise, arguments.output
    errors, effect = {}, ""
    if tolerance is None:
        written, questions = write_next_questions(config, output, budget, arguments.format)
    else:
        written, plan = write_noise_questions(config, output, tolerance, budget or None, arguments.format)
        questions = plan.questions
        before, after = (round(share, 4) for share in (plan.before, plan.after))
        errors = {"noise_error_before": before, "noise_error_after": after}
        effect = (
            f"; highest noise level: the expected true level is {100 * before:.1f} points below the nominal level now, and "
            f"{100 * after:.1f} points with these answers"
        )
    answers = sum(questions["votes_wanted"].to_pylist())
    listed = f"{counted(questions.num_rows, 'question')} for {counted(answers, 'answer')}"
    say(stage_line("next", f"{listed}{effect}: {', '.join(written)}"))
    return {"files": written, "questions": questions.num_rows, "answers": answers, **errors}


def _check_question_flags(budget: int | None, tolerance: float | None) -> None:
    """Raise UsageError for wrong values of --next-questions and --for-noise."""
    if tolerance is None:
        if budget is not None and budget < 1:
            raise UsageError(f"--next-questions {budget or ''}: expected a budget of at least 1 answer")
        return
    if budget is None:
        raise UsageError("--for-noise needs --next-questions; add it, with or without a number of answers")
    if budget < 0:
        raise UsageError(f"--next-questions {budget}: expected a budget of at least 1 answer")
    if not 0 < tolerance < 1:
        raise UsageError(
            f"--for-noise {tolerance:g}: expected a share of all labels between 0 and 1, such as 0.02"
        )


def _dry_run(
    arguments: argparse.Namespace,
    config: "BuildConfig",
    beam: list[str],
    chosen: Sequence[str],
    retry: Sequence[str],
    say: Say,
) -> int:
    """Check the launch and print what the stages would do."""
    from pipeline import build, plan

    options = build.check(config, arguments.output, beam, chosen)
    result = plan.dry_run(config, arguments.output, options, chosen, arguments.force, retry)
    say("dry run: nothing is written or submitted")
    say(stage_line("runner", result["runner"]))
    for name, value in result["options"].items():
        say(stage_line("", f"{name}={value}"))
    for name, stage in result["stages"].items():
        say(stage_line(name, stage["state"]))
        for access in ("reads", "writes"):
            say("\n".join(stage_line("", f"{access:<6} {path}") for path in stage[access]))
    print_json(arguments, result)
    return OK


def _fact(name: str, count: int) -> str:
    """Return a count of `verify` in words; in names such as "clean_leaks_kept", the noun is the first word that ends in s."""
    plural = name.replace("_", " ")
    return counted(count, re.sub(r"s\b", "", plural, count=1), plural)


def verify(arguments: argparse.Namespace, beam: list[str], say: Say) -> int:
    """Verify a dataset, in this process or, with flags of Beam, as a job; print problems and return FAILED if there are any."""
    import sys

    from pipeline.layout import Layout
    from pipeline.noise.true_level import describe_sets
    from pipeline.report.freshness import outdated
    from pipeline.verify.dataset import verify

    start = time.monotonic()
    dataset = arguments.dataset.rstrip("/")
    if beam:
        from pipeline.jobs import verify as job

        verification = job.run(dataset, beam)
    else:
        verification = verify(dataset)
    build = dataset.rpartition("/")[0]
    notes = outdated(build) if Layout(build).dataset == dataset else []
    result = {
        "ok": not verification.problems,
        "problems": verification.problems,
        **verification.counts,
        "manifest_sha256": verification.root_sha256,
        "leak_rules": verification.leak_rules,
        "leak_search": verification.leak_search,
        "estimated_noise": verification.estimated_noise,
        "notes": notes,
    }
    print_json(arguments, result)
    for problem in verification.problems:
        print(f"error: {visible_line(problem)}", file=sys.stderr)
    facts = ", ".join(_fact(name, count) for name, count in verification.counts.items())
    say(f"{'FAILED' if verification.problems else 'ok'}: {facts} ({time.monotonic() - start:.1f} s)")
    say(f"dataset manifest sha256 {verification.root_sha256}")
    changed = {name: f" (default: {value})" for name, value in verification.changed_rules.items()}
    rules = ", ".join(
        f"{name} {value}{changed.get(name, '')}" for name, value in verification.leak_rules.items()
    )
    say(f"leak rules: {rules or 'none'}")
    say(f"leak search: {verification.leak_search}")
    for line in describe_sets(verification.estimated_noise):
        say(line)
    for note in notes:
        say(f"note: {note}")
    return FAILED if verification.problems else OK


def report(arguments: argparse.Namespace, _beam: list[str], say: Say) -> int:
    """Write the report of a build."""
    from pipeline.report.freshness import outdated
    from pipeline.report.html import write_report

    written, notes = write_report(arguments.build, arguments.output), outdated(arguments.build)
    say(written)
    for note in notes:
        say(f"note: {note}")
    print_json(arguments, {"file": written, "notes": notes})
    return OK


def view(arguments: argparse.Namespace, _beam: list[str], say: Say) -> int:
    """Serve the images of a build until interrupted."""
    from pipeline.report.freshness import outdated
    from pipeline.view.server import serve

    def announce(url: str) -> None:
        notes = outdated(arguments.build)
        say("\n".join([url, *(f"note: {note}" for note in notes)]))
        print_json(arguments, {"url": url, "notes": notes})

    serve(arguments.build, arguments.port, announce)
    return OK


def export(arguments: argparse.Namespace, _beam: list[str], say: Say) -> int:
    """Export a set for other tools."""
    from pipeline.shards.export import export

    result = export(arguments.dataset, arguments.set_name, arguments.format, arguments.output)
    say(f"{counted(result['rows'], 'example')} in {arguments.output}")
    print_json(arguments, result)
    return OK


def with_json(run: Callable[[argparse.Namespace, Say], dict[str, Any]]) -> Verb:
    """Return a verb that calls `run` and prints its result if --json is given."""

    def verb(arguments: argparse.Namespace, _beam: list[str], say: Say) -> int:
        print_json(arguments, run(arguments, say))
        return OK

    return verb


def print_json(arguments: argparse.Namespace, result: Any) -> None:
    """Print the result as JSON if --json is given; in ASCII, since the escapes of other encodings are not those of JSON."""
    if arguments.json:
        print(json.dumps(result))


VERBS: dict[str, Verb] = {
    **dict.fromkeys((*STAGES, "build"), run_stages),
    "verify": verify, "report": report, "view": view, "vote": run_vote, "audit": run_audit, "export": export,
    "retrieve": with_json(run_retrieve), "retrieve-similar": with_json(run_retrieve_similar),
    "list-folder": with_json(run_list_folder),
    "leaks": with_json(run_leaks),
    "check-links": with_json(run_check_links),
    "publish": with_json(run_publish),
    "import-cnwl": with_json(run_import_cnwl), "from-cifar-n": with_json(run_from_cifar_n),
}  # fmt: skip
