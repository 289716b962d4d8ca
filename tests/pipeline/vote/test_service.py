from collections import defaultdict
from contextlib import nullcontext, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.vote.service import AHEAD, Refusal
from pipeline.vote.worker_state import BURST, RESERVED_SECONDS
from schemas.vote import ANSWERS
from tests.pipeline.vote.desk import Desk, wanted

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["answer"] * 8 + ["late", "undo", "skip", "again", "leave", "idle", "kill", "repeat"]
        ),
        st.integers(0, 4),
        st.sampled_from(["yes", "no", "unsure"]),
    ),
    max_size=60,
)


def check_counts(desk: Desk) -> None:
    """What is in memory must be what is in the file."""
    assignment, expected = desk.service.assignment, np.zeros((desk.count, 3), int)
    for image, _, answer in desk.stored():
        expected[int(image.removeprefix("image-")), ANSWERS.index(answer)] += 1
    assert (assignment.counts == expected).all()
    held = [question for worker in desk.service.workers.values() for question in worker.held]
    assert (assignment.load == expected.sum(axis=1) + np.bincount(held, minlength=desk.count)).all()
    assert assignment.class_votes.sum() == expected.sum()
    assert assignment.class_wanted.sum() == assignment.wanted.sum()


@settings(max_examples=40, deadline=None)
@given(steps, st.integers(1, 9), st.sampled_from([(1, 1), (3, 3), (3, 5), (4, 5)]))
def test_every_question_ends_with_its_votes_from_different_workers(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, str]],
    count: int,
    limits: tuple[int, int],
) -> None:
    """Under any interleaving of answers, undone votes, skips, absences and kills."""
    desk = Desk(tmp_path_factory.mktemp("desk"), count, limits)
    workers = [f"w{i}" for i in range(5)]
    for step, who, answer in steps:
        worker, service = workers[who], desk.service
        state = service.start(worker)
        current = state["questions"][0]["id"] if state["questions"] else None
        if step == "kill":
            desk.restart()
        elif step == "idle":
            desk.clock.now += RESERVED_SECONDS + 1
        elif step == "undo" and state["undo"]:
            for _ in range(2):  # the second time as a repeated request
                service.undo(worker, state["undo"]["id"])
        elif step == "again":
            service.show_skipped(worker)
        elif step == "leave":
            service.leave(worker)
        elif current and step == "skip":
            service.skip(worker, current)
        elif current and step in ("answer", "late", "repeat"):
            if step == "late":  # the reservation has ended, and others may have taken the question
                desk.clock.now += RESERVED_SECONDS + 1
                for other in workers:
                    service.start(other)
            request = f"once {desk.requests}"
            with suppress(Refusal) if step == "late" else nullcontext():
                desk.answer(worker, current, answer, request=request)
                if step == "repeat":
                    service.answer(worker, current, answer, None, 5.0, request)
    check_counts(desk)
    if steps and steps[0][1] % 2:
        desk.restart()
    for worker in workers:
        desk.service.show_skipped(worker)
        desk.service.leave(worker)
    for _ in range(count * 5):
        for worker in workers:
            state = desk.service.start(worker)
            if state["questions"]:
                desk.answer(worker, state["questions"][0]["id"], "yes")
    by_question = defaultdict(list)
    for image, worker, answer in desk.stored():
        by_question[image].append((worker, answer))
    assert len(by_question) == count
    for votes in by_question.values():
        assert len({worker for worker, _ in votes}) == len(votes), "a worker voted twice"
        assert wanted([answer for _, answer in votes], *limits) == len(votes)
        if limits[0] == limits[1]:
            assert len(votes) == limits[0]
    end = desk.service.start("w0")
    assert (end["questions"], end["waiting"]) == ([], False)
    assert end["progress"]["done"] == end["progress"]["total"] == len(desk.stored())
    desk.journal.close()


def test_the_last_vote_of_a_question_is_reserved_for_a_short_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 1, (1, 1))
    [held] = desk.service.start("anna")["questions"]
    other = desk.service.start("ben")
    assert (other["questions"], other["waiting"]) == ([], True)
    desk.clock.now += RESERVED_SECONDS + 1
    assert desk.service.start("ben")["questions"] == [held]
    with pytest.raises(Refusal) as refused:
        desk.answer("anna", held["id"])
    assert refused.value.status == 409
    assert refused.value.body["waiting"]
    desk.answer("ben", held["id"], "no")
    assert [vote[1:] for vote in desk.stored()] == [("ben", "no")]
    assert desk.service.start("anna")["waiting"] is False


def test_leaving_gives_questions_back_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 1, (1, 1))
    desk.service.start("anna")
    desk.service.leave("anna")
    assert len(desk.service.start("ben")["questions"]) == 1
    desk.service.leave("nobody")


def test_repeated_requests_store_one_vote_and_an_undone_vote_stays_undone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 5)
    first = desk.service.start("anna")["questions"][0]["id"]
    for _ in range(3):
        desk.answer("anna", first, "no", "cow", request="same")
    assert len(desk.stored()) == 1
    after = desk.service.undo("anna", first)
    assert after["undone"] == {"id": first, "answer": "no", "seen_class": "cow"}
    assert after["questions"][0]["id"] == first
    desk.answer("anna", first, "no", "cow", request="same")  # a late copy of the first request
    assert desk.stored() == []
    desk.answer("anna", first, "yes")
    with pytest.raises(Refusal, match="before"):
        desk.answer("anna", first, "no")
    assert [vote[1:] for vote in desk.stored()] == [("anna", "yes")]
    desk.restart()
    desk.answer("anna", first, "yes")  # the page did not hear that the vote was stored before the kill
    assert len(desk.stored()) == 1
    assert desk.service.undo("anna", first)["undone"]["answer"] == "yes"
    assert "undone" not in desk.service.undo("anna", first)
    assert desk.stored() == []


def test_the_class_that_was_seen_instead_is_stored(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 3)
    desk.answer("anna", desk.key(0), "no", "bee")
    assert (
        desk.path.read_text().splitlines()[0]
        == "image_id,class_name,worker_id,answer,seconds,seen_class,time"
    )
    assert "image-0,ant,anna,no,1.200,bee," in desk.path.read_text()
    desk.restart()
    assert desk.service.undo("anna", desk.key(0))["undone"]["seen_class"] == "bee"


def test_questions_with_fewer_votes_come_first_within_a_run(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 8)
    for index in (0, 1):
        desk.answer("anna", desk.key(index))
    desk.service.leave("anna")
    asked = [question["id"] for question in desk.service.start("ben")["questions"]]
    assert asked == [desk.key(index) for index in (2, 3, 0, 1)], "all of the run before the next run"
    assert len(asked) == AHEAD + 1


def test_skipped_questions_come_back_when_asked_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 2, (1, 1))
    first, second = (question["id"] for question in desk.service.start("anna")["questions"])
    desk.service.skip("anna", first)
    assert len(desk.service.start("ben")["questions"]) == 1, "others may answer it"
    desk.service.leave("ben")
    state = desk.answer("anna", second)
    assert (state["questions"], state["skipped"], state["waiting"]) == ([], 1, False)
    assert desk.service.show_skipped("anna")["questions"][0]["id"] == first


def test_gold_questions_come_at_their_share_and_look_like_others(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 400, (1, 1), {index: index % 2 for index in range(300, 400)}, share=0.2)
    shapes, gold, progress = set(), 0, []
    known = {desk.key(index) for index in range(300, 400)}
    state = desk.service.start("anna")
    asked = []
    while state["questions"]:
        current = state["questions"][0]
        asked.append(current["id"])
        shapes.add(tuple(sorted(current)))
        gold += current["id"] in known
        progress.append((state["progress"]["done"], state["progress"]["total"]))
        state = desk.answer("anna", current["id"])
    assert len(set(asked)) == len(asked)
    assert len(shapes) == 1
    assert len(asked) - gold == 300
    assert 45 <= gold <= 100  # 75 expected of 375
    steps = [b[0] - a[0] for a, b in pairwise(progress)]
    assert set(steps[:250]) == {1}, "every answer counts one, gold or not"
    assert len({total for _, total in progress}) == 1
    # A gold question is about the class of the question that it precedes.
    of_class = {desk.key(index): index % 3 for index in range(400)}
    for key, after in pairwise(asked):
        assert key not in known or of_class[key] == of_class[after]


@pytest.mark.parametrize(
    ("answer", "seen"),
    [("maybe", None), ("", None), ("yes", "cow"), ("unsure", "bee"), ("no", "shp"), ("no", "ant")],
)
def test_wrong_answers_are_refused(tmp_path: Path, answer: str, seen: str | None) -> None:
    desk = Desk(tmp_path, 1)
    with pytest.raises(Refusal) as refused:
        desk.answer("anna", desk.key(0), answer, seen)
    assert refused.value.status == 400
    assert desk.stored() == []


@pytest.mark.parametrize("name", ["", "  ", "nan", "null", "an\u202ena", "a\tb", "x" * 61, "é" * 150])
def test_names_that_are_no_ids_are_refused(tmp_path: Path, name: str) -> None:
    desk = Desk(tmp_path, 1)
    with pytest.raises(Refusal) as refused:
        desk.service.start(name)
    assert refused.value.status == 400
    assert desk.service.start(" \u202eanna ")["worker"] == "anna"


def test_a_name_is_kept_as_it_was_first_written(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 4)
    desk.answer("=Anna", desk.key(0))
    assert desk.service.start(" =aNNA ")["worker"] == "=Anna"
    desk.restart()
    state = desk.service.start("=anna")
    assert (state["worker"], state["progress"]["own"]) == ("=Anna", 1)
    assert b"\nimage-0,ant,'=Anna,yes" in desk.path.read_bytes()


def test_a_flood_of_answers_is_slowed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 100, (1, 1))
    state = desk.service.start("anna")
    statuses = []
    for number in range(60):
        try:
            state = desk.service.answer("anna", state["questions"][0]["id"], "yes", None, 1.0, str(number))
        except Refusal as refusal:
            statuses.append(refusal.status)
    assert statuses == [429] * (60 - int(BURST))
    desk.clock.now += 10
    desk.service.answer("anna", state["questions"][0]["id"], "yes", None, 1.0, "later")
    desk.service.answer("ben", desk.service.start("ben")["questions"][0]["id"], "yes", None, 1.0, "other")


def test_times_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 4, (1, 1))
    for index, milliseconds in enumerate([None, -5.0, float("nan"), 1e12]):
        desk.service.answer("anna", desk.key(index), "yes", None, milliseconds, str(index))
    for line in desk.path.read_text().splitlines()[1:]:
        cells = line.split(",")
        assert cells[-2] == ""
        assert cells[-1].endswith("Z")


def test_a_vote_that_is_spelled_differently_in_the_file_blocks_only_its_own_undo(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 3)
    desk.answer("ann", desk.key(1), "no")
    line = b"image-0,Ant,ann,yes,,,\n"  # the class is "ant"
    desk.path.write_bytes(desk.path.read_bytes() + line)
    desk.restart()
    assert desk.service.start("ann")["undo"]["id"] == desk.key(0)
    with pytest.raises(Refusal, match="spelled differently") as refused:
        desk.service.undo("ann", desk.key(0))
    assert refused.value.status == 409
    assert refused.value.body["undo"]["id"] == desk.key(1), "the vote before can be undone"
    assert desk.service.undo("ann", desk.key(1))["undone"]["answer"] == "no"
    assert desk.stored() == [("image-0", "ann", "yes")]


def test_too_many_names_are_refused_and_not_asked_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.vote.service.MAX_WORKERS", 2)
    desk = Desk(tmp_path, 3)
    desk.service.start("a")
    desk.service.start("b")
    with pytest.raises(Refusal, match="2 names have started; use one of them") as refused:
        desk.service.start("c")
    assert refused.value.status == 409, "the page repeats requests that end with 500 or more"
