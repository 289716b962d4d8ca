"""The verb `audit`: its flags, and what it prints."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from common.command_line import OK, add_verb
from common.errors import UsageError
from common.plural import counted

SHOWN_SETS = 12  # in the terminal
MORE = """The build needs features of its images (stage embed). The result is the table OUTPUT/audit/suspects, a section of the
report, and a filter of `view`; no other stage removes or changes anything because of it."""


def add_audit(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "audit",
        "find verdicts, clean labels and test labels that are probably wrong",
        "python -m pipeline audit out/cifar10n --next-questions 1000",
        MORE,
    )
    sub.add_argument("build", metavar="OUTPUT", help="output folder of a build with features")
    sub.add_argument("--force", action="store_true", help="audit again even if nothing has changed")
    sub.add_argument(
        "--next-questions",
        type=int,
        metavar="N",
        help="list the questions whose verdicts are most likely to change with more votes, for at most N answers",
    )
    sub.add_argument(
        "--format",
        choices=("csv", "label-studio", "ground-truth"),
        default="csv",
        help="format of the list of questions in OUTPUT/audit (default: %(default)s)",
    )


def run_audit(arguments: argparse.Namespace, _beam: list[str], say: Callable[[str], None]) -> int:
    """Audit a build, and print the estimates."""
    from pipeline.audit.facts import levels_with_label_errors, sentences
    from pipeline.audit.questions import write_audit_questions
    from pipeline.audit.table import audit_build
    from pipeline.layout import Layout
    from pipeline.running.lock import build_lock
    from pipeline.running.progress import stage_line
    from pipeline.shards import directory

    budget = arguments.next_questions
    if budget is not None and budget < 1:
        raise UsageError(f"--next-questions {budget}: expected a budget of at least 1 answer")
    output, start = arguments.build.rstrip("/"), time.monotonic()
    directory.read_manifest(Layout(output).images)  # before the lock creates a folder
    with build_lock(output):
        manifest, up_to_date = audit_build(output, arguments.force)
        facts = manifest.about
        result: dict[str, Any] = {"up_to_date": up_to_date, "rows": manifest.rows}
        result |= {name: facts[name] for name in ("labels", "verdicts", "probe")}
        for name, sentence in sentences(facts):
            say(stage_line(name, sentence))
        levels = levels_with_label_errors(output)
        result["levels"] = {name: asdict(level) for name, level in levels.items()}
        for name, level in list(levels.items())[:SHOWN_SETS]:
            low, high = 100 * level.low, 100 * level.high
            say(
                stage_line(
                    "",
                    f"{name}: {low:.1f} to {high:.1f} % of the labels are wrong, wrong clean labels included",
                )
            )
        if len(levels) > SHOWN_SETS:
            say(stage_line("", f"and {len(levels) - SHOWN_SETS} more sets, on the report page"))
        if budget is not None:
            written, questions = write_audit_questions(output, budget, arguments.format)
            answers = sum(questions["votes_wanted"].to_pylist())
            result["next_questions"] = {
                "files": written,
                "questions": questions.num_rows,
                "answers": answers,
            }
            say(
                stage_line(
                    "next",
                    f"{counted(questions.num_rows, 'question')} for {counted(answers, 'answer')}: {', '.join(written)}",
                )
            )
    state = (
        "up to date" if up_to_date else f"{counted(manifest.rows, 'row')} ({time.monotonic() - start:.1f} s)"
    )
    say(stage_line("suspects", f"{Layout(output).suspects}: {state}"))
    if arguments.json:
        print(json.dumps(result))
    return OK
