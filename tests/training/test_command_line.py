"""The command line: results, exit codes and messages."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import DataError
from schemas.manifest import MANIFEST
from tests.training.conftest import NAMES, striped, write_set
from training import metrics
from training.__main__ import MODULES, main, parser
from training.data.shards import read_manifest
from training.measurement import Measurement

SMALL = ["--recipe", "tiny", "--set", "network.width=2", "--set", "batch_size=32", "--set", "epochs=2"]


def train(dataset: Path, out: Path, *more: str) -> list[str]:
    return ["train", "--data", str(dataset), "--set-name", "blue-0.40", "--output", str(out), *SMALL, *more]


def test_train_then_evaluate_measure_the_same(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(train(dataset, out, "--method", "mentormix", "--json")) == 0
    trained = json.loads(capsys.readouterr().out)
    assert main(["evaluate", "--data", str(dataset), "--run", str(out), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["accuracy"] == trained["final_accuracy"]
    assert (
        main(["evaluate", "--data", str(dataset), "--run", str(out), "--set-name", "blue-0.40", "--json"])
        == 0
    )
    on_training_set = json.loads(capsys.readouterr().out)
    assert on_training_set["memorized"] == trained["memorized"]


def test_the_resolved_configuration_is_saved(dataset: Path, tmp_path: Path) -> None:
    main(
        train(
            dataset,
            tmp_path / "run",
            "--method",
            "co_teaching",
            "--set",
            "co_teaching.ramp_epochs=3",
            "--json",
        )
    )
    saved = json.loads((tmp_path / "run/config.json").read_text())
    assert saved["config"]["co_teaching"] == {"forget_rate": 0.4, "ramp_epochs": 3.0}  # by the set's level
    assert "mixup" not in saved["config"]
    assert saved["data"]["train"] == "blue-0.40"


def test_a_missing_tensorboard_is_noticed_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    for flags in (["--tensorboard"], ["--logger", "tensorboard"]):
        assert main(train(tmp_path / "absent", tmp_path / "run", *flags)) == 2
        assert "--logger tensorboard: TensorBoard is not installed; pip install" in capsys.readouterr().err


def test_a_second_run_in_the_same_folder_needs_resume(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = train(dataset, tmp_path / "run", "--json")
    assert main(call) == 0
    first = capsys.readouterr().out
    assert main(call) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*call, "--resume"]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--set", "epochs"], 2, "KEY=VALUE"),
        (["--set", "epoch=3"], 2, "did you mean 'epochs'"),
        (["--set", "network.name=resnet"], 2, "unknown network"),
        (
            ["--set", "network.name=torchvision/squeezenet1_0"],
            2,
            "squeezenet1_0 does not take images of 8×8 pixels",
        ),
        (
            ["--set", "batch_size=4", "--set", "accumulate=4"],
            2,
            "batch_size=4, accumulate=4: small_cnn cannot be trained on one image at a time",
        ),
        (["--set", "augment.size=64"], 2, "augment.size=64 is larger than the images, 8×8"),
        (["--recipe", "tinny"], 2, "did you mean 'tiny'"),
        (["--test", "tset"], 1, "tset: no such set (did you mean 'test'?)"),
        (["--set", "optimizer.learning_rate=1e30"], 1, "the loss is"),
    ],
)
def test_invalid_arguments_give_a_message_and_an_exit_code(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    code: int,
    message: str,
) -> None:
    assert main(train(dataset, tmp_path / "run", "--json", *more)) == code
    assert message in capsys.readouterr().err


def test_evaluate_refuses_a_set_with_other_classes(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(dataset, tmp_path / "run", "--json")) == 0
    for name, names in (("order", NAMES[::-1]), ("more", [*NAMES, "wave"])):
        write_set(dataset / name, striped(12, 0.0, seed=2), color=None, names=names)
        command = ["evaluate", "--data", str(dataset), "--run", str(tmp_path / "run"), "--set-name", name]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert f"{dataset / name}: the classes ['" in said
        assert "are not those of the run, ['circle', 'square', 'star']" in said


def test_evaluate_needs_a_run(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", str(dataset), "--run", str(tmp_path / "nowhere")]) == 1
    assert "this folder has no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "remedy"), [("train", "--set accumulate=2"), ("evaluate", "CUDA_VISIBLE_DEVICES")]
)
def test_the_remedy_for_too_little_memory_of_the_gpu_is_one_that_the_verb_has(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    remedy: str,
) -> None:
    def fail(_: object) -> int:
        raise torch.OutOfMemoryError("tried to allocate 3 GiB")

    monkeypatch.setattr(import_module(MODULES[verb]), "verb", fail)
    commands = {
        "train": train(dataset, tmp_path / "run"),
        "evaluate": ["evaluate", "--data", str(dataset), "--run", str(tmp_path / "run")],
    }
    assert main(commands[verb]) == 1
    said = capsys.readouterr().err
    assert "tried to allocate 3 GiB" in said
    assert remedy in said
    assert ("accumulate" in said) == (verb == "train")


@pytest.mark.parametrize("argv", [[], ["trian"], ["train", "--method", "sgd"], ["study", "--jobs", "0"]])
def test_bad_usage_exits_with_two(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(argv)
    assert error.value.code == 2


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys, contextlib, training.__main__ as m\n"
        "with contextlib.suppress(SystemExit): m.main(['train', '--help'])\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--set-name" in done.stdout
    assert "example:" in done.stdout


def test_ctrl_c_saves_a_checkpoint_and_explains_how_to_resume(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    real = Measurement.row

    def measure_and_press(self: Measurement, epoch: int) -> dict[str, Any]:
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)
        return real(self, epoch)

    monkeypatch.setattr(Measurement, "row", measure_and_press)
    call = train(dataset, tmp_path / "run", "--json")
    assert main(call) == 130
    assert "--resume" in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert len(metrics.read_rows(tmp_path / "run")) == 1
    monkeypatch.undo()
    assert main([*call, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 2


def test_streaming_from_an_address_gives_the_result_of_a_local_resident_set(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(dataset, tmp_path / "one", "--json")) == 0
    expected = json.loads(capsys.readouterr().out)
    call = train(
        dataset, tmp_path / "other", "--json", "--resident-gb", "0", "--cache", str(tmp_path / "cache")
    )
    call[call.index(str(dataset))] = dataset.as_uri()
    assert main(call) == 0
    found = json.loads(capsys.readouterr().out)
    timed = {"seconds", "images_per_second", "predicted_seconds"}
    assert {k: found[k] for k in found.keys() - timed} == {k: expected[k] for k in expected.keys() - timed}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.parquet")}
    assert main([*call, "--resume"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.parquet")}
    call[call.index("--cache") :] = []
    assert main(call) == 2
    assert "--cache DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluat", "did you mean 'evaluate'?"),
        ("train --data d --set-name red-0.40 --method mentormixx --output r", "did you mean 'mentormix'?"),
        (
            "train --data d --set-name red-0.40 --output r --recpe tiny",
            "did you mean --recipe instead of --recpe?",
        ),
        ("train --data d --set-name red-0.40 --outptu r", "did you mean --output instead of --outptu?"),
        ("study --data d --output s --levels 20", "got 20; 20 % is 0.2"),
        ("study --data d --output s --levels 0.2 --methods mentormixx", "did you mean 'mentormix'?"),
    ],
)
def test_a_misspelled_argument_suggests_the_nearest_one(command, message, capsys):
    with suppress(SystemExit):
        main(command.split())
    assert message in capsys.readouterr().err


def test_a_missing_set_is_distinguished_from_an_interrupted_build(tmp_path):
    for name in ("red-0.40", "blue-0.40", "test"):
        (tmp_path / "out" / "dataset" / name).mkdir(parents=True)
        (tmp_path / "out" / "dataset" / name / MANIFEST).write_text("{}")
    data = tmp_path / "out" / "dataset"
    with pytest.raises(
        DataError, match=r"red-0\.4: no such set \(did you mean 'red-0\.40'\?\); the dataset has blue"
    ):
        read_manifest(data / "red-0.4")
    with pytest.raises(
        DataError, match=r"no such set; the dataset has blue-0\.40, red-0\.40, test\. Add levels"
    ):
        read_manifest(data / "red-0.35")
    with pytest.raises(DataError, match=r"did you mean --data .*out/dataset\?"):
        read_manifest(tmp_path / "out" / "red-0.40")
    with pytest.raises(DataError, match="has no sets; give the folder of a dataset"):
        read_manifest(tmp_path / "nosuch" / "red-0.40")
    (data / "half").mkdir()
    (data / "half" / "train-00000-of-00001.parquet").touch()
    with pytest.raises(DataError, match="the build of this set was interrupted"):
        read_manifest(data / "half")


NUMBERS = {
    "vanilla": ["optimizer.learning_rate", "optimizer.weight_decay", "optimizer.warmup_epochs", "optimizer.layer_decay"],
    "weight_decay": ["weight_decay.strength"],
    "s_model": ["s_model.initial_noise"],
    "gce": ["gce.q"],
    "mixup": ["mixup.alpha"],
    "co_teaching": ["co_teaching.ramp_epochs"],
    "elr": ["elr.strength"],
    "dividemix": ["dividemix.temperature", "dividemix.alpha", "dividemix.unlabeled_weight", "dividemix.ramp_epochs"],
}  # fmt: skip


@pytest.mark.parametrize("value", ["5e-324", "1e-9", "1e30", "1e308"])
@pytest.mark.parametrize(
    ("method", "key"), [(method, key) for method, keys in NUMBERS.items() for key in keys]
)
def test_numbers_at_the_ends_of_their_range_train_or_are_errors(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, key: str, value: str
) -> None:
    sets = ["--set", "dividemix.warmup_epochs=1", "--set", f"{key}={value}"]
    code = main(train(dataset, tmp_path / "run", "--method", method, *sets, "--json"))
    error = capsys.readouterr().err
    assert code == 0 or (code == 2 and f"{key} must be" in error) or (code == 1 and "try a smaller" in error)


@pytest.mark.parametrize("every", ["0", "0.001"])
@pytest.mark.parametrize("decay", ["5e-324", "1"])
def test_steps_of_the_learning_rate_at_the_ends_of_their_range_train(
    dataset: Path, tmp_path: Path, every: str, decay: str
) -> None:
    keys = {
        "schedule": "step",
        "decay": decay,
        "decay_every": every,
        "milestones": "[]" if every != "0" else "[1]",
    }
    sets = [word for key, value in keys.items() for word in ("--set", f"optimizer.{key}={value}")]
    assert main(train(dataset, tmp_path / "run", *sets, "--json")) == 0


@pytest.mark.parametrize(
    "word",
    [
        "threads=4097",
        "optimizer.decay=1.5",
        "optimizer.decay_every=5e-324",
        "optimizer.weight_decays=[0, 1e308]",
    ],
)
def test_numbers_that_end_a_run_without_a_message_are_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    """Threads that cannot be started end the process with a segmentation fault."""
    assert main(train(dataset, tmp_path / "run", "--set", word)) == 2
    assert "must be" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "d", "--set-name", "s", "--output", "o", "--resident-gb", "1e308"],
        ["train", "--data", "d", "--set-name", "s", "--output", "o", "--resident-gb", "-1"],
        ["power", "--agreement", "0.9", "--half-width", "5e-324"],
        ["power", "--accuracy", "0.7", "--difference", "5e-324"],
        ["power", "--accuracy", "0.7", "--test-images", "9" * 25],
    ],
)
def test_flags_with_numbers_beyond_any_use_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "must be" in capsys.readouterr().err


@pytest.mark.parametrize("allocate", [torch.empty, np.empty])
def test_a_machine_without_enough_memory_is_an_error_with_a_remedy(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    allocate: Callable[[int], Any],
) -> None:
    monkeypatch.setattr("training.train_verb.prepare_run", lambda *_, **__: allocate(2**58))
    assert main(train(dataset, tmp_path / "run")) == 1
    error = capsys.readouterr().err
    assert "this machine is out of memory" in error
    assert "augment.resize" in error


def test_a_run_trained_on_single_images_is_evaluated_on_smaller_ones(dataset: Path, tmp_path: Path) -> None:
    """The network cannot be trained on one image of 8×8 pixels; the changed file stands for a run with larger images."""
    run = tmp_path / "run"
    assert main(train(dataset, run)) == 0
    description = json.loads((run / "config.json").read_text())
    description["config"]["accumulate"] = description["config"]["batch_size"]
    (run / "config.json").write_text(json.dumps(description))
    assert main(["evaluate", "--data", str(dataset), "--run", str(run)]) == 0


@pytest.mark.parametrize(
    ("error", "place"), [(MemoryError(), "this machine"), (torch.OutOfMemoryError(), "the GPU")]
)
def test_the_remedy_for_too_little_memory_names_flags_that_the_verb_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, place: str
) -> None:
    def fail(_: object) -> int:
        raise error

    words = {
        "train": ["--data", "d", "--set-name", "s", "--output", "o"],
        "evaluate": ["--data", "d", "--run", "r"],
        "study": ["--data", "d", "--output", "o"],
        "plot": ["o"],
        "distrusted": ["r"],
        "export": ["r", "--output", "o"],
    }
    for verb, more in words.items():
        monkeypatch.setattr(f"{MODULES[verb]}.verb", fail)
        assert main([verb, *more]) == 1
        message = capsys.readouterr().err
        assert f"{place} is out of memory" in message
        has_flag = "resident_gb" in vars(parser().parse_args([verb, *more]))
        assert ("--resident-gb" in message) == has_flag, verb
