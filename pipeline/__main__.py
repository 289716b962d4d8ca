"""The command line of the pipeline: `python -m pipeline VERB`."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from pipeline.logs import set_up_logging
from pipeline.published import verbs as published
from pipeline.retrieve import verb as searching
from schemas.errors import DataError, UsageError
from schemas.rejection import CODES

STAGES = ("ingest", "label", "dedupe", "split")
EPILOG = """
The configuration is one YAML file; --set source=… and other --set KEY=VALUE lay values over it. Flags that are not
listed here go to Beam: --runner, --direct_num_workers, --project, …

example:
  python -m pipeline build --config configs/cifar10n.yaml --set source=data/cifar10n --output out/cifar10n
  python -m pipeline verify out/cifar10n/dataset
"""


def parser() -> argparse.ArgumentParser:
    """All verbs and their flags."""
    top = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="From web images and worker votes to training sets with exactly known label noise.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    about = {
        "ingest": "fetch, check, normalise and fingerprint the images of the lists",
        "label": "resolve votes into verdicts",
        "dedupe": "find near-duplicates, and leaks to the test set",
        "split": "choose the noise and write the training and test sets",
        "build": "all four, each only if its inputs have changed",
    }
    for verb, text in about.items():
        sub = _verb(verbs, verb, text)
        sub.add_argument("--config", required=True, metavar="FILE", help="YAML file (see configs/)")
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="lay a value over the file"
        )
        sub.add_argument(
            "--output", required=True, metavar="DIR", help="where all stages write; local, gs://, s3://"
        )
        sub.add_argument("--force", action="store_true", help="run even what is up to date")
        if verb in ("ingest", "build"):
            sub.add_argument(
                "--retry",
                default="",
                metavar="CODE,…",
                help="fetch URLs again that were rejected with these codes: timeout,server_error",
            )
        if verb == "label":
            sub.add_argument(
                "--next-questions",
                type=int,
                metavar="N",
                help="then list what still needs a vote, the most telling first, for at most N answers",
            )
            sub.add_argument(
                "--format",
                choices=("csv", "label-studio", "ground-truth"),
                default="csv",
                help="form of that list, in OUTPUT/labels [csv]",
            )
    sub = _verb(
        verbs, "verify", "prove a dataset from its files alone: exit code 1 and the reasons if it fails"
    )
    sub.add_argument("dataset", metavar="DATASET", help="folder of a dataset (OUTPUT/dataset)")
    sub = _verb(verbs, "report", "the funnel of a build as text, and pictures of what was removed")
    sub.add_argument("build", metavar="OUTPUT", help="folder that `build --output` wrote")
    sub.add_argument("--output", metavar="DIR", help="where to write report.md and pictures [OUTPUT/report]")
    sub = _verb(verbs, "export", "write a set as WebDataset shards or as a folder of images")
    sub.add_argument("dataset", metavar="DATASET", help="folder of a dataset (OUTPUT/dataset)")
    sub.add_argument("--split", required=True, metavar="SET", help="which set: red-0.40, test, …")
    sub.add_argument("--format", required=True, choices=("webdataset", "folder"), help="what to write")
    sub.add_argument("--output", required=True, metavar="DIR", help="an empty folder, or a new one")
    searching.add_retrieve(_verb(verbs, "retrieve", searching.RETRIEVE))
    published.add_import_cnwl(_verb(verbs, "import-cnwl", published.IMPORT_CNWL))
    published.add_from_cifar_n(_verb(verbs, "from-cifar-n", published.FROM_CIFAR_N))
    return top


def _verb(verbs: Any, name: str, text: str) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sub.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return sub


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0 ok, 1 failed, 2 bad usage, 130 stopped."""
    arguments, others = parser().parse_known_args(argv)
    set_up_logging()
    try:
        if arguments.verb not in (*STAGES, "build") and others:
            raise UsageError(f"{arguments.verb} does not know {others[0]}; see --help")
        from pipeline import files

        files.set_options(others)
        return _run(arguments, others)
    except UsageError as error:
        print(f"usage error: {error}", file=sys.stderr)
        return 2
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; finished stages are kept, the same command goes on from there", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace, beam_arguments: list[str]) -> int:

    def say(line: str) -> None:
        if not arguments.json:
            print(line, flush=True)

    if arguments.verb == "verify":
        return _verify(arguments, say)
    if arguments.verb == "report":
        from pipeline.shards.report import write_report

        written = write_report(arguments.build, arguments.output)
        print(json.dumps({"files": written}) if arguments.json else "\n".join(written))
        return 0

    if arguments.verb == "export":
        from pipeline.shards.export import export

        told = export(arguments.dataset, arguments.split, arguments.format, arguments.output)
        say(f"{told['rows']:,} examples in {len(told['files'])} files below {arguments.output}")
        if arguments.json:
            print(json.dumps(told, ensure_ascii=False))
        return 0
    if arguments.verb == "retrieve":
        searching.run_retrieve(arguments, say)
        return 0
    if arguments.verb in ("import-cnwl", "from-cifar-n"):
        run = published.run_import_cnwl if arguments.verb == "import-cnwl" else published.run_from_cifar_n
        run(arguments, say)
        return 0

    from pipeline.config import load_config
    from pipeline.jobs import build
    from pipeline.jobs.run import Staged

    config = load_config(arguments.config, arguments.set)
    stages = STAGES if arguments.verb == "build" else (arguments.verb,)
    budget = getattr(arguments, "next_questions", None)
    if budget is not None and budget < 1:
        raise UsageError(f"--next-questions is a budget of 1 answer or more, got {budget}")
    retry = [code.strip() for code in getattr(arguments, "retry", "").split(",") if code.strip()]
    for code in retry:
        if code not in CODES:
            near = get_close_matches(code, CODES, n=1)
            raise UsageError(f"--retry: there is no code {code!r}" + (f"; {near[0]}?" if near else ""))
    try:
        result = build.run(config, arguments.output, beam_arguments, stages, arguments.force, say, retry)
    except Staged as staged:
        say(f"staged  {stages[0]} is written to {staged}, and not started")
        return 0
    if budget is not None:
        from pipeline.jobs.rounds import write_next_questions

        written, questions = write_next_questions(config, arguments.output, budget, arguments.format)
        answers = sum(questions["ask"].to_pylist())
        result["next_questions"] = {"files": written, "questions": questions.num_rows, "answers": answers}
        say(f"next    {questions.num_rows:,} questions for {answers:,} answers: {', '.join(written)}")
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False))
    return 0


def _verify(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    from pipeline.shards.verify import verify

    start = time.monotonic()
    found = verify(arguments.dataset)
    if arguments.json:
        print(
            json.dumps(
                {"ok": not found.problems, "problems": found.problems, **found.facts}, ensure_ascii=False
            )
        )
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
    facts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found.facts.items())
    say(f"{'FAILED' if found.problems else 'ok'}: {facts} ({time.monotonic() - start:.1f} s)")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
