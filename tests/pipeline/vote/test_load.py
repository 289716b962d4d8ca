import csv
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.errors import DataError, UsageError
from pipeline.__main__ import main
from pipeline.aggregate.next_questions import next_questions
from pipeline.aggregate.question_files import _buckets
from pipeline.config import load_config
from pipeline.layout import Layout
from pipeline.vote.build_images import BuildImages
from pipeline.vote.gold_questions import CLEAN_GOLD, EXAMPLES
from pipeline.vote.load import LoadedVote, VoteOptions, flow_list, load
from pipeline.vote.questions import RUN
from pipeline.vote.verbs import parse_limits, summary
from tests.pipeline.small_world import CLASSES, CLEAN, ONE_PROCESS, WEB, World

COUNT = len(CLASSES) * WEB


@pytest.fixture(scope="module")
def unvoted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that ends after ingest."""
    output = tmp_path_factory.mktemp("unvoted") / "out"
    assert (
        main(
            [
                "ingest",
                "--config",
                str(world.config),
                "--set",
                "votes=[]",
                "--output",
                str(output),
                ONE_PROCESS,
            ]
        )
        == 0
    )
    return output


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[object]:
    found: list[LoadedVote] = []

    def open_it(build: Path, **options: object) -> LoadedVote:
        found.append(load(VoteOptions(str(build), str(tmp_path / "new.csv"), **options)))  # type: ignore[arg-type]
        return found[-1]

    yield open_it
    for one in found:
        one.close()


def test_the_first_round_asks_every_candidate_in_runs_of_one_class(unvoted: Path, opened) -> None:
    loaded = opened(unvoted)
    questions, assignment = loaded.service.questions, loaded.service.assignment
    assert len(questions) == COUNT
    assert assignment.open.all()
    assert assignment.class_wanted.tolist() == [3 * WEB] * 3
    for run in np.unique(questions.runs):
        members = questions.classes[questions.runs == run]
        assert len(set(members.tolist())) == 1
        assert len(members) in (RUN, WEB % RUN)
    assert len(set(questions.classes[::RUN].tolist())) > 1, "runs of the classes are mixed"
    assert loaded.notes[-1].startswith("after the first votes, run build with --set 'votes=[/")
    assert "new.csv]', unless" in loaded.notes[-1]
    assert all(len(info.examples) == EXAMPLES for info in loaded.classes)


def test_a_later_round_asks_what_next_questions_names_most_informative_first(
    built: Path, world: World, opened
) -> None:
    config = load_config(str(world.config), [])
    loaded = opened(built, config=config)
    expected = next_questions(_buckets(Layout(str(built))), 10**9, 3, 5)
    asked = np.flatnonzero(loaded.service.assignment.open)
    assert asked.tolist() == list(range(expected.num_rows))
    names = loaded.service.questions.pairs["image_id"].to_pylist()
    assert sorted(names[: len(asked)]) == sorted(expected["image_id"].to_pylist()) == [world.tie]
    with pytest.raises(UsageError, match=r"votes from votes\.csv; add --config"):
        opened(built)


def test_workers_are_not_asked_what_they_answered_in_another_file(built: Path, world: World, opened) -> None:
    service = opened(built, config=load_config(str(world.config), [])).service
    assert service.start("w0")["questions"] == []
    assert service.start("W2")["worker"] == "w2"
    state = service.start("someone new")
    assert len(state["questions"]) == 1
    assert service.start("w0")["undo"] is None, "votes of other files cannot be undone"
    state = service.answer("someone new", state["questions"][0]["id"], "no", None, 10.0, "a")
    assert service.assignment.open.sum() == 1, (
        "1 yes, 2 no, 1 unsure: no majority, and a fifth vote is wanted"
    )


def test_votes_that_the_stage_has_not_seen_count(unvoted: Path, opened, tmp_path: Path) -> None:
    first = opened(unvoted, limits=(1, 1))
    question = first.service.start("anna")["questions"][0]
    first.service.answer("anna", question["id"], "yes", None, 500.0, "a")
    first.close()
    service = opened(unvoted, limits=(1, 1)).service
    assert service.assignment.open.sum() == COUNT - 1
    assert service.start("anna")["undo"] == question
    assert service.undo("anna", question["id"])["questions"][0] == question
    service.leave("anna")
    assert service.assignment.open.sum() == COUNT


def test_clean_images_are_gold_and_their_votes_go_to_another_file(
    unvoted: Path, opened, tmp_path: Path
) -> None:
    loaded = opened(unvoted, clean_gold=True, gold_share=0.5)
    questions = loaded.service.questions
    gold = np.flatnonzero(questions.known >= 0)
    own = min(CLEAN - EXAMPLES, CLEAN_GOLD)
    assert np.bincount(questions.known[gold]).tolist() == [3 * own, 3 * CLEAN_GOLD]
    pairs = questions.pairs.to_pylist()
    shown = {key for info in loaded.classes for key in info.examples}
    for index in gold.tolist():
        image, name = pairs[index]["image_id"], pairs[index]["class_name"]
        assert image.startswith("clean-")
        assert (f"-{name}-" in image) == (questions.known[index] == 0)
        assert loaded.service._shown(index)["image"] not in shown, "an example is never a gold question"
    state = loaded.service.start("anna")
    for number in range(8):
        state = loaded.service.answer("anna", state["questions"][0]["id"], "yes", None, 900.0, str(number))
    votes, gold_votes = (
        list(csv.DictReader((tmp_path / name).open())) for name in ("new.csv", "new-gold.csv")
    )
    assert len(votes) + len(gold_votes) == 8
    assert {row["image_id"][:4] for row in votes} == {"web-"}
    assert gold_votes
    assert {row["image_id"][:6] for row in gold_votes} == {"clean-"}
    assert (
        f"right on {sum('-' + row['class_name'] in row['image_id'] for row in gold_votes)} of {len(gold_votes)}"
        in summary(loaded)[0]
    )
    loaded.close()
    again = opened(unvoted, clean_gold=True, gold_share=0.5)
    assert again.service.start("anna")["progress"]["own"] == 8


def test_gold_questions_of_a_file(unvoted: Path, opened, tmp_path: Path) -> None:
    gold = tmp_path / "gold.csv"
    gold.write_text("image_id,class_name,answer\nweb-ant-0,ANT,yes\nclean-bee-3,ant,no\nnowhere,ant,no\n")
    loaded = opened(unvoted, gold=str(gold))
    questions = loaded.service.questions
    known = {
        (row["image_id"], row["class_name"]): int(code)
        for row, code in zip(questions.pairs.to_pylist(), questions.known, strict=True)
        if code >= 0
    }
    assert known == {("web-ant-0", "ant"): 0, ("clean-bee-3", "ant"): 1}
    assert loaded.service.assignment.class_wanted.tolist() == [3 * (WEB - 1), 3 * WEB, 3 * WEB]
    gold.write_text("image_id,class_name,answer\nnowhere,ant,no\n")
    with pytest.raises(DataError, match="none of its images"):
        load(VoteOptions(str(unvoted), str(tmp_path / "other.csv"), gold=str(gold)))


def test_a_gold_question_of_a_file_is_never_shown_as_an_example(
    unvoted: Path, opened, tmp_path: Path
) -> None:
    gold = tmp_path / "gold.csv"
    rows = [f"clean-{name}-{number},{name},yes\n" for name in CLASSES for number in range(CLEAN - EXAMPLES)]
    gold.write_text("image_id,class_name,answer\n" + "".join(rows))
    loaded = opened(unvoted, gold=str(gold))
    known = np.flatnonzero(loaded.service.questions.known >= 0)
    assert len(known) == len(rows)
    asked = {loaded.service._shown(index)["image"] for index in known.tolist()}
    for info in loaded.classes:
        assert len(info.examples) == EXAMPLES
        assert not asked.intersection(info.examples)


def test_clean_gold_without_further_clean_images_is_an_error(
    unvoted: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("pipeline.vote.gold_questions.EXAMPLES", CLEAN)
    with pytest.raises(DataError, match="no clean images are left for --clean-gold"):
        load(VoteOptions(str(unvoted), str(tmp_path / "new.csv"), clean_gold=True))


def test_descriptions_are_those_of_known_classes(unvoted: Path, opened, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text('class_name,description\nant,"Six legs, no wings."\n')
    assert opened(unvoted, descriptions=str(texts)).classes[0].description == "Six legs, no wings."
    texts.write_text("class_name,description\nnat,x\n")
    with pytest.raises(DataError, match=r'texts\.csv:2: unknown class .nat. .did you mean "ant"'):
        load(VoteOptions(str(unvoted), str(tmp_path / "other.csv"), descriptions=str(texts)))


def test_images_have_keys_that_hide_their_ids(unvoted: Path, opened) -> None:
    loaded = opened(unvoted, clean_gold=True)
    images = BuildImages(str(unvoted))
    reply = loaded.service.start("anna")
    assert "web-" not in str(reply)
    encoded = images.read(int(reply["questions"][0]["image"], 16))
    assert encoded
    assert encoded.startswith(b"\x89PNG")
    assert images.read(7) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--votes", "votes.json"], "expected a local .csv file"),
        (["--votes", "nowhere/votes.csv"], "there is no folder nowhere"),
        (["--votes", "votes.csv", "--workers-per-question", "5-3"], "a range such as 3-5"),
        (["--votes", "votes.csv", "--gold-share", "0.7"], "from 0 to 0.5"),
        (["--votes", "votes.csv", "--gold-share", "0.2"], "add --gold FILE or --clean-gold"),
        (["--votes", "votes.csv", "--host", "192.0.2.7"], "give a name or an address of this machine"),
    ],
)
def test_wrong_usage_has_a_remedy(
    unvoted: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["vote", str(unvoted), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_a_build_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vote", str(tmp_path / "none"), "--votes", str(tmp_path / "votes.csv")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "votes.csv").exists()


@pytest.mark.parametrize(("text", "limits"), [("3", (3, 3)), ("3-5", (3, 5)), (None, None)])
def test_limits_are_a_number_or_a_range(text: str | None, limits: tuple[int, int] | None) -> None:
    assert parse_limits(text) == limits


def test_the_votes_of_the_page_make_verdicts(unvoted: Path, world: World, tmp_path: Path) -> None:
    """ingest, votes by the service alone, aggregate."""
    output = Path(shutil.copytree(unvoted, tmp_path / "out"))
    votes = tmp_path / "votes.csv"
    loaded = load(VoteOptions(str(output), str(votes)))
    for worker in ("anna", "ben", "=cleo"):
        loaded.service.clock = lambda: 0.0
        state = loaded.service.start(worker)
        while state["questions"]:
            loaded.service.workers[worker]._allowance = 9.0
            key = state["questions"][0]["id"]
            state = loaded.service.answer(
                worker, key, "no" if int(key, 16) % 2 else "yes", None, 800.0, f"{worker}{key}"
            )
    loaded.close()
    source = str(world.folder)
    more = ["--set", f"votes=[{votes}]"]
    assert (
        main(
            [
                "aggregate",
                "--config",
                str(world.config),
                "--set",
                f"source={source}",
                *more,
                "--output",
                str(output),
                ONE_PROCESS,
            ]
        )
        == 0
    )
    from pipeline.shards import directory
    from schemas.verdict import VERDICT

    verdicts = directory.read_table(Layout(str(output)).verdicts, VERDICT).to_pylist()
    assert len(verdicts) == COUNT
    assert all(row["yes"] + row["no"] == 3 and row["confidence"] == 1 for row in verdicts)


def test_the_note_on_the_vote_file_is_a_flag_that_the_build_takes(
    unvoted: Path, opened, world: World, tmp_path: Path
) -> None:
    def notes(*settings: str) -> tuple[str, ...]:
        loaded = opened(unvoted, config=load_config(str(world.config), list(settings)))
        loaded.close()
        return loaded.notes

    (note,) = notes("votes=[]")
    flag = shlex.split(note.partition("run build with --set ")[2])[0]
    config = load_config(str(world.config), [flag])
    assert [str(Path(config.source, name)) for name in config.votes] == [str(tmp_path / "new.csv")]
    assert notes(flag) == ()
    assert notes(f"votes=[votes.csv, {tmp_path / 'new.csv'}]") == ()


@pytest.mark.parametrize(
    "names",
    [["votes.csv"], ["a b.csv", "c,d.csv"], ["[x].csv", 'q".csv', "#.csv", "ü.csv", "yes", "1.5", "./-"]],
)
def test_names_of_vote_files_survive_yaml(names: list[str]) -> None:
    assert yaml.safe_load(flow_list(names)) == names
