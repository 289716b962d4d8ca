from collections import Counter, defaultdict

from demo.workers import FIRST, MOST, Question, ask, hire
from schemas.vote import ANSWERS, VOTE

QUESTIONS = [Question(f"i{n}", "ball", truth=n % 3 == 0, near=n % 3 == 1) for n in range(1500)]
TRUTH = {question.image_id: question.truth for question in QUESTIONS}
WORKERS = hire(30)


def votes_by(key, rows):
    groups = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    return groups


def test_the_same_seed_gives_the_same_votes():
    assert list(ask(QUESTIONS, WORKERS, 0)) == list(ask(QUESTIONS, WORKERS, 0))
    assert list(ask(QUESTIONS, WORKERS, 0)) != list(ask(QUESTIONS, WORKERS, 1))


def test_votes_have_the_columns_of_the_table_and_no_worker_answers_twice():
    rows = list(ask(QUESTIONS, WORKERS, 0))
    assert set(rows[0]) == set(VOTE.schema.names) - {
        "time",
        "seen_class",
    }  # all are asked at once, and none says what it saw instead
    assert {row["answer"] for row in rows} == set(ANSWERS)
    assert len({(row["image_id"], row["worker_id"]) for row in rows}) == len(rows)
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_more_than_three_answers_only_where_the_first_three_disagree():
    lengths = Counter()
    for rows in votes_by("image_id", ask(QUESTIONS, WORKERS, 0)).values():
        answers = [row["answer"] for row in rows]
        lengths[len(answers)] += 1
        agreed = answers[:FIRST] in (["yes"] * FIRST, ["no"] * FIRST)
        assert agreed == (len(answers) == FIRST)
        if len(answers) == FIRST + 1:
            assert max(answers.count("yes"), answers.count("no")) == FIRST
    assert set(lengths) == {FIRST, FIRST + 1, MOST}


def test_each_skill_shows_in_the_answers():
    right = defaultdict(list)
    says_yes = defaultdict(list)
    skill = {worker.worker_id: worker.skill for worker in WORKERS}
    for row in ask(QUESTIONS, WORKERS, 0):
        kind = skill[row["worker_id"]]
        right[kind].append((row["answer"] == "yes") == TRUTH[row["image_id"]] and row["answer"] != "unsure")
        says_yes[kind].append(row["answer"] == "yes")
    share = {kind: sum(values) / len(values) for kind, values in right.items()}
    assert share["good"] > 0.85 > share["careless"] > 0.55
    assert all(says_yes["always-yes"])
    assert 0.4 < share["spammer"] < 0.6


def test_the_majority_of_good_workers_is_right():
    good = [worker for worker in WORKERS if worker.skill == "good"]
    rows = votes_by("image_id", ask(QUESTIONS, good, 0))
    answers = {
        image_id: Counter(row["answer"] for row in some).most_common(1)[0][0]
        for image_id, some in rows.items()
    }
    wrong = sum((answer == "yes") != TRUTH[image_id] for image_id, answer in answers.items())
    assert wrong < 0.03 * len(answers)


def test_every_skill_is_hired_even_into_a_small_crowd():
    assert {worker.skill for worker in hire(4)} == {"good", "careless", "always-yes", "spammer"}
    assert len({worker.worker_id for worker in hire(12)}) == 12
