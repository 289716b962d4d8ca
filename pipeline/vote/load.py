"""Read a build, its votes and its gold questions, and make the service of a voting page from them."""

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from common.errors import DataError, UsageError
from pipeline import files
from pipeline.aggregate.gold import read_gold
from pipeline.config import BuildConfig
from pipeline.layout import Layout
from pipeline.records import read_records
from pipeline.shards import directory
from pipeline.values import match_names, suggestion
from pipeline.vote.build_images import KeyIndex, ListedPairs, image_keys, read_pairs
from pipeline.vote.earlier_votes import AnswersByWorker, gold_path, read_rows, valid_votes, vote_files
from pipeline.vote.gold_questions import EXAMPLES, by_class, clean_gold, with_gold
from pipeline.vote.journal import VoteJournal
from pipeline.vote.questions import Questions, ask_in_order
from pipeline.vote.service import EarlierAnswers, VoteService
from schemas.class_description import CLASS_DESCRIPTION
from schemas.gold import GOLD

DEFAULT_LIMITS = (3, 5)


@dataclass(frozen=True)
class VoteOptions:
    """What the flags of `vote` say; `limits` are the least and most workers per question."""

    build: str
    votes: str
    config: BuildConfig | None = None
    limits: tuple[int, int] | None = None
    gold: str | None = None
    clean_gold: bool = False
    gold_share: float = 0.1
    descriptions: str | None = None


@dataclass(frozen=True)
class ClassInfo:
    """A class as the page shows it: name, description, keys of example images."""

    name: str
    description: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class LoadedVote:
    """The service of a voting page, the classes that it shows, its open files, and lines for the operator."""

    service: VoteService
    classes: tuple[ClassInfo, ...]
    journals: tuple[VoteJournal, ...]
    notes: tuple[str, ...]

    def close(self) -> None:
        """Close the vote files."""
        for journal in self.journals:
            journal.close()


def load(options: VoteOptions, clock: Callable[[], float] = time.monotonic) -> LoadedVote:
    """Open the vote file and prepare all questions. Raises UsageError or DataError that names the remedy."""
    _check_vote_path(options.votes)
    listed = read_pairs(options.build)
    rules = vote_files(options.build, options.votes, options.config)
    gold_of_file = _gold_of_file(options, listed)
    examples, other_clean = by_class(listed, set(gold_of_file["image_id"].to_pylist()))
    gold = pa.concat_tables([gold_of_file, _clean_gold(options, listed, other_clean)])
    descriptions = _descriptions(options.descriptions, listed.classes)
    journals = [VoteJournal(options.votes)]
    own_rows = read_rows([] if journals[0].is_empty else [options.votes], listed.classes, listed.web)
    other_rows = read_rows(rules.paths, listed.classes, listed.web, rules)
    all_rows = pa.concat_tables([other_rows, own_rows])
    least, most = _limits(options)
    questions = ask_in_order(options.build, listed, valid_votes(all_rows, listed.web), least, most)
    questions = with_gold(questions, gold, listed.classes)
    if not questions.of_build.all():
        journals.append(VoteJournal(gold_path(options.votes)))
        if not journals[1].is_empty:
            gold_rows = read_rows([journals[1].path], listed.classes, listed.web)
            own_rows, all_rows = (pa.concat_tables([rows, gold_rows]) for rows in (own_rows, all_rows))
    index = KeyIndex(questions.keys)
    own_rows = own_rows.take(
        pa.array(np.argsort(own_rows["time"].cast(pa.int64()).to_numpy(), kind="stable"))
    )
    earlier = EarlierAnswers(AnswersByWorker(all_rows, index), AnswersByWorker(own_rows, index))
    service = VoteService(
        questions, listed.classes, (least, most), earlier, journals[0], journals[1] if len(journals) > 1 else None,
        options.gold_share, clock,
    )  # fmt: skip
    classes = tuple(
        ClassInfo(name, descriptions.get(name, ""), _keys(examples[name])) for name in listed.classes
    )
    return LoadedVote(service, classes, tuple(journals), _notes(options, questions, journals, gold))


def _check_vote_path(path: str) -> None:
    if "://" in path or not path.endswith(".csv"):
        raise UsageError(f"--votes {path}: expected a local .csv file; it is created if it does not exist")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UsageError(f"--votes {path}: there is no folder {folder}; create it or choose another file")


def _limits(options: VoteOptions) -> tuple[int, int]:
    if options.limits:
        return options.limits
    if options.config:
        return options.config.aggregate.min_votes, options.config.aggregate.max_votes
    return DEFAULT_LIMITS


def _gold_of_file(options: VoteOptions, listed: ListedPairs) -> pa.Table:
    """Return the gold questions of a file that can be asked (GOLD)."""
    config, path = options.config, options.gold
    if path is None and config and config.aggregate.gold:
        path = files.join(config.source, config.aggregate.gold)
    if not path:
        return GOLD.schema.empty_table()
    rows = read_gold(path, config.aggregate.answer_words if config else None, listed.classes)
    there = [pa.compute.is_in(rows["image_id"], table["image_id"]) for table in (listed.web, listed.clean)]
    usable = rows.filter(pa.compute.or_(*there))
    if not usable.num_rows:
        raise DataError(
            f"{path}: none of its images is a candidate or a clean image of the build; compare the ids"
        )
    return usable


def _clean_gold(options: VoteOptions, listed: ListedPairs, images: list[str]) -> pa.Table:
    """Return the gold questions about the clean images that are not examples (GOLD)."""
    if not options.clean_gold:
        return GOLD.schema.empty_table()
    if not images:
        raise DataError(
            f"{Layout(options.build).retrievals}: no clean images are left for --clean-gold, since {EXAMPLES} of each class "
            "are shown as examples; add clean images, or use --gold FILE"
        )
    return clean_gold(listed, images)


def _descriptions(path: str | None, classes: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for records in read_records(path, CLASS_DESCRIPTION, path) if path else ():
        if records.malformed:
            raise DataError("{}: {}; fix this line".format(*records.malformed[0]))
        names = match_names(records.rows["class_name"], classes).to_pylist()
        texts, rows = (records.rows[name].to_pylist() for name in ("description", "location"))
        for name, text, row in zip(names, texts, rows, strict=True):
            if name not in classes:
                raise DataError(
                    f"{row}: unknown class {name!r}{suggestion(name or '', classes)}; fix the line"
                )
            found[name] = text or ""
    return found


def _keys(image_ids: list[str]) -> tuple[str, ...]:
    return tuple(f"{key:016x}" for key in image_keys(pa.array(image_ids, pa.string())).tolist())


def _notes(
    options: VoteOptions, questions: Questions, journals: list[VoteJournal], gold: pa.Table
) -> tuple[str, ...]:
    notes = [
        f"removed an unfinished line of {journal.removed_bytes} bytes from {journal.path}"
        for journal in journals
        if journal.removed_bytes
    ]
    if gold.num_rows:
        notes.append(
            f"{int((questions.known >= 0).sum()):,} gold questions, {options.gold_share:.0%} of those asked"
        )
    if len(journals) > 1:
        notes.append(
            f"votes on clean images are appended to {journals[1].path}; add it to 'votes' to measure how often each worker is right"
        )
    return (*notes, *_how_to_use(options, [journal.path for journal in journals]))


def _how_to_use(options: VoteOptions, paths: list[str]) -> list[str]:
    """Return a note that says how a build reads the vote files (real paths), unless it is known to do so."""
    config = options.config
    if config:
        named = {os.path.realpath(files.join(config.source, name)) for name in config.votes}
        source = os.path.realpath(config.source)
        missing = [
            os.path.relpath(path, source) if path.startswith(source + os.sep) else path
            for path in paths
            if path not in named
        ]
        value = flow_list([*config.votes, *missing])
        note = f"after the first votes, change 'votes' of the configuration to {value}, or {_flag(value)}"
        return [note] if missing else []
    made = directory.valid_manifest(Layout(options.build).verdicts)
    inputs = {os.path.basename(name) for name in made.about.get("inputs", {})} if made else set()
    if inputs.issuperset(map(os.path.basename, paths)):
        return []
    return [f"after the first votes, {_flag(flow_list(paths))}, unless the configuration has them in 'votes'"]


def _flag(value: str) -> str:
    return f"run build with --set {shlex.quote(f'votes={value}')}"


def flow_list(names: Sequence[str]) -> str:
    """Return names as a YAML list on one line, quoted where needed."""
    plain = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./-]*\.(csv|jsonl?|parquet|manifest)")
    words = [name if plain.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in names]
    return f"[{', '.join(words)}]"
