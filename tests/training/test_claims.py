"""Several processes and one grid: nobody trains what another trains, and what is left behind is taken over."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.test_study import arguments, timeless
from training import checkpoint
from training.__main__ import main
from training.checkpoint import FILE_NAME
from training.study import claims
from training.study.claims import Claim, Claims


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT", 0.02)
    monkeypatch.setattr(claims, "LOOKS", 3)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_json", ".json")).write_text(text)


def result(accuracy: float) -> str:
    """The text of the result of a run."""
    numbers = ["final_accuracy_raw", "best_accuracy", "seconds", "train_loss", "images_per_second"]
    counts = ["best_epoch", "epochs", "steps"]
    return json.dumps({"final_accuracy": accuracy, **dict.fromkeys(numbers, 0.5), **dict.fromkeys(counts, 1)})


def state(output: Path, number: int) -> str:
    return str(json.loads((output / f"claims/run/{number:06d}.json").read_text())["state"])


def test_of_many_who_want_a_run_one_gets_it(tmp_path: Path) -> None:
    start, won = threading.Barrier(16), []

    def want() -> None:
        start.wait()
        if claim := Claims(tmp_path, {}).take("run"):
            won.append(claim)

    threads = [threading.Thread(target=want) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [claim.number for claim in won] == [1]
    assert Claims(tmp_path, {}).take("run") is None


def test_a_claim_that_is_kept_is_never_taken_over_and_one_that_is_not_is(tmp_path: Path, quick: None) -> None:
    """The owner lives, as one on another machine, or one that hangs: only looking tells."""
    claim = Claims(tmp_path, {}).take("run")
    assert claim
    other = Claims(tmp_path, {})
    with claim.kept():
        for _ in range(20):
            assert other.take("run") is None
            time.sleep(0.04)
    assert not claim.lost
    looks = 0
    while not (taken := other.take("run")):
        looks += 1
        time.sleep(0.02)
    assert taken.number == 2
    assert looks >= claims.LOOKS


def test_who_wakes_up_after_its_claim_was_taken_over_changes_nothing(tmp_path: Path, quick: None) -> None:
    asleep = Claims(tmp_path, {}).take("run")
    other = Claims(tmp_path, {})
    assert asleep
    asleep.inherit()
    while not (taken := other.take("run")):
        time.sleep(0.02)
    taken.inherit()
    write(asleep.work, result_json=result(0.1))
    assert not asleep.publish()
    assert not claims.is_finished(tmp_path, "run")
    with asleep.kept():
        time.sleep(0.1)
        assert asleep.lost
    write(taken.work, result_json=result(0.2))
    assert taken.publish()
    assert not asleep.publish()
    assert (tmp_path / "runs/run/result.json").read_text() == result(0.2)
    assert (state(tmp_path, 1), state(tmp_path, 2)) == (claims.LOST, claims.FINISHED)
    assert Claims(tmp_path, {}).take("run") is None


def test_a_rename_onto_a_finished_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last guard, should a process be paused between its look and its rename."""
    claim = Claims(tmp_path, {}).take("run")
    assert claim
    claim.inherit()
    write(claim.work, result_json=result(0.1))
    write(tmp_path / "runs/run", result_json=result(0.2))
    monkeypatch.setattr(Claim, "_is_lost", lambda _: False)
    assert not claim.publish()
    assert (tmp_path / "runs/run/result.json").read_text() == result(0.2)


def test_the_most_advanced_checkpoint_is_inherited_with_its_rows(tmp_path: Path) -> None:
    for number, step in ((1, 30), (2, 20)):
        claim = Claim.make(tmp_path, "run", number)
        assert claim
        claim.inherit()
        assert not list(claim.work.glob("checkpoint*"))
        write(
            claim.work,
            config_json='{"digest": "the same", "data": {}, "config": {}}',
            **{"metrics.jsonl": "\n" * number},
        )
        progress = {"step": step, "epoch": 0, "position": step, "seconds": 1.0, "energy": {}}
        checkpoint.save(claim.work, {"weight": torch.zeros(1)}, progress, step)
        if number == 1:
            (claim.work / FILE_NAME.format(step)).rename(tmp_path / "aside")
    (tmp_path / "aside").rename(tmp_path / "claims/run/000001" / FILE_NAME.format(30))
    third = Claim.make(tmp_path, "run", 3)
    assert third
    third.inherit()
    assert (third.work / "metrics.jsonl").read_text() == "\n"
    assert (third.work / FILE_NAME.format(30)).exists()
    assert (tmp_path / "claims/run/000002" / FILE_NAME.format(20)).exists()


def test_what_a_dead_process_of_this_machine_had_is_free_at_once_unless_its_study_lives(
    tmp_path: Path,
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    while claims.process(dead.pid)[1]:
        time.sleep(0.01)  # it is not collected: a zombie does not train
    claim = Claim.make(tmp_path, "run", 1)
    assert claim
    owner = claims.process(dead.pid)
    claim._write(owner=[dead.pid, 1])
    assert owner == (dead.pid, None)
    assert Claims(tmp_path, {}).take("run") is None  # the study will say that it failed
    claims.fail_claims_of(dead.pid, tmp_path, ["run", "other"], "its process died")
    assert claims.read_failure(tmp_path, "run") == "its process died"
    claim._write(state=claims.TRAINING, study=[os.getpid(), 1])  # an earlier process of the same id
    taken = Claims(tmp_path, {}).take("run")
    assert taken
    assert taken.number == 2
    dead.wait()


def test_a_claim_that_was_created_and_not_written_blocks_nobody_for_ever(tmp_path: Path, quick: None) -> None:
    write(tmp_path / "claims/run", **{"000001_json": ""})
    known = Claims(tmp_path, {})
    while not (taken := known.take("run")):
        time.sleep(0.02)
    assert taken.number == 2


def test_a_failure_is_tried_again_by_the_next_study_and_not_by_this_one(tmp_path: Path) -> None:
    first = Claims(tmp_path, {}).take("run")
    assert first
    first.end(claims.FAILED, error="out of luck")
    assert Claims(tmp_path, {}).settled("run")
    retried = claims.failures(tmp_path, ["run", "other"])
    assert retried == {"run": 1}
    here, beside = Claims(tmp_path, retried), Claims(tmp_path, retried)
    assert not here.settled("run")
    second = here.take("run")
    assert second
    second.end(claims.FAILED, error="again")
    assert beside.settled("run")
    assert claims.read_failure(tmp_path, "run") == "again"


def test_a_run_that_was_begun_without_claims_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "runs/run", **{"config_json": "…", FILE_NAME.format(7): "…"})
    claim = Claims(tmp_path, {}).take("run")
    assert claim
    claim.inherit()
    assert (claim.work / FILE_NAME.format(7)).exists()
    assert not (tmp_path / "runs/run").exists()


def log_of(output: Path) -> Counter[str]:
    """How many claims on each run have ended with it finished."""
    all_claims = [
        json.loads(file.read_text()) | {"run": file.parent.name} for file in output.glob("claims/*/*.json")
    ]
    return Counter(claim["run"] for claim in all_claims if claim["state"] == claims.FINISHED)


def test_of_two_studies_one_is_killed_and_no_run_is_lost_or_trained_twice(
    dataset: Path, tmp_path: Path
) -> None:
    more = ["--levels", "0.0", "0.4", "--colors", "blue", "--methods", "vanilla", "mixup", "--seeds", "0"]
    more += ["--set", "epochs=30"]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert main(arguments(dataset, alone, *more)) == 0
    call: list[Any] = [sys.executable, "-m", "training", *arguments(dataset, shared, *more)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    quiet["env"] = os.environ | {"OMP_NUM_THREADS": "1"}
    victim, survivor = (subprocess.Popen(call, **quiet) for _ in range(2))
    while not any(f'"owner": [{victim.pid},' in f.read_text() for f in shared.glob("claims/*/*.json")):
        time.sleep(0.01)
        assert victim.poll() is None
    victim.send_signal(signal.SIGKILL)
    assert (victim.wait(100), survivor.wait(400)) == (-signal.SIGKILL, 0)
    finished = log_of(shared)
    assert len(finished) == 4
    assert set(finished.values()) == {1}
    assert timeless(shared) == timeless(alone)
