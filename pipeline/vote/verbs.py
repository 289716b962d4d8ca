"""The verb `vote`: flags, start and summary of a voting page."""

import argparse
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from common.command_line import OK, add_verb
from common.errors import UsageError
from common.plural import counted
from page.text import visible_text

MORE = """The first line is the address of the page. Every answer is on disk before the next question is shown, and the same
command continues where it was stopped."""


def add_vote(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "vote",
        "collect votes on a local web page",
        "python -m pipeline vote out --votes mine/votes.csv",
        MORE,
    )
    sub.add_argument(
        "build", metavar="OUTPUT", help="output folder of a build whose ingest stage has finished"
    )
    sub.add_argument(
        "--votes",
        required=True,
        metavar="FILE",
        help=".csv file that votes are appended to; created if needed",
    )
    sub.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file of the build: votes of its other vote files count, and its gold questions, min_votes and max_votes "
        "are the defaults",
    )
    sub.add_argument(
        "--workers-per-question",
        metavar="N-M",
        help="number of workers who answer each question, or N-M: N, and up to M while no answer has a majority "
        "(default: 3-5)",
    )
    _add_gold_flags(sub)
    sub.add_argument(
        "--descriptions",
        metavar="FILE",
        help="texts shown beside the questions: class_name, description",
    )
    sub.add_argument(
        "--host",
        metavar="ADDRESS",
        help="address or name of this machine on which others can reach the page, 0.0.0.0 for all; the URL then has a token "
        "(default: this machine only)",
    )
    sub.add_argument(
        "--port",
        type=int,
        default=8766,
        metavar="N",
        help="port; 0 means any free port (default: %(default)s)",
    )


def _add_gold_flags(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--gold", metavar="FILE", help="gold questions: image_id, class_name, answer")
    sub.add_argument(
        "--clean-gold",
        action="store_true",
        help="use clean images as gold questions, about their own class and about others",
    )
    sub.add_argument(
        "--gold-share",
        type=float,
        metavar="S",
        help="share of gold questions among those asked, 0 to 0.5 (default: 0.1)",
    )


def run_vote(arguments: argparse.Namespace, _beam: list[str], say: Callable[[str], None]) -> int:
    """Serve the voting page until interrupted, then print how many votes each worker gave."""
    from pipeline.config import load_config
    from pipeline.vote.load import VoteOptions, load
    from pipeline.vote.server import serve

    share = arguments.gold_share
    if share is not None and not 0 <= share <= 0.5:
        raise UsageError(f"--gold-share {share:g}: expected a share from 0 to 0.5")
    config = load_config(arguments.config, []) if arguments.config else None
    has_gold = bool(arguments.gold or arguments.clean_gold or (config and config.aggregate.gold))
    if share and not has_gold:
        raise UsageError("--gold-share needs gold questions; add --gold FILE or --clean-gold")
    options = VoteOptions(
        arguments.build, arguments.votes, config, parse_limits(arguments.workers_per_question), arguments.gold,
        arguments.clean_gold, 0.1 if share is None else share, arguments.descriptions,
    )  # fmt: skip
    loaded = load(options)
    service = loaded.service
    left = answers_left(service)

    def announce(url: str) -> None:
        asked = int(service.assignment.open.sum())
        say(
            f"{url}\n{counted(asked, 'question')} for {counted(left, 'answer')}, appended to {arguments.votes}; stop with Ctrl-C"
        )
        for note in loaded.notes:
            say(f"note: {note}")
        if arguments.json:
            print(
                json.dumps({"url": url, "questions": asked, "answers": left, "notes": loaded.notes}),
                flush=True,
            )

    try:
        serve(loaded, arguments.build, arguments.host, arguments.port, announce)
    finally:
        loaded.close()
    for line in summary(loaded):
        say(line)
    return OK


def parse_limits(text: str | None) -> tuple[int, int] | None:
    """Parse N or N-M, the least and most workers per question. Raises UsageError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text.strip())
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most:
        raise UsageError(
            f"--workers-per-question {text}: expected a number such as 3, or a range such as 3-5"
        )
    return least, most


def summary(loaded: Any) -> list[str]:
    """Return one line per worker of this run, with votes and right answers to gold questions, and the answers left."""
    service, lines = loaded.service, []
    for worker in service.workers.values():
        questions = np.array(list(worker.answers), np.int64)
        answers = np.array([code for code, _ in worker.answers.values()], np.int64)
        known = service.questions.known[questions]
        line = f"{visible_text(worker.name)}: {counted(len(questions), 'vote')}"
        if (known >= 0).any():
            right = int((answers == known)[known >= 0].sum())
            line += f", right on {right} of {counted(int((known >= 0).sum()), 'gold question')}"
        lines.append(line)
    left = answers_left(service)
    if lines and left:
        lines.append(
            f"{counted(left, 'answer is', 'answers are')} still wanted, from workers who have not answered these questions"
        )
    return lines


def answers_left(service: Any) -> int:
    """Return the number of answers that candidates still need."""
    return int((service.assignment.class_wanted - service.assignment.class_votes).sum())
