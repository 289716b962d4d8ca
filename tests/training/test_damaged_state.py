"""Damaged state files: the error names the file, its remedy works, and one damaged run affects no other."""

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import DataError
from tests.training.study.small_study import arguments, without_times
from training import checkpoint, metrics
from training.__main__ import main
from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.data.shards import load_pair, read_manifest
from training.run_directory import read_config, read_result
from training.study import run_state
from training.trainer import Trainer

CPU = torch.device("cpu")
DAMAGE = {
    "empty": lambda _: b"",
    "torn": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "no UTF-8": lambda data: b"\xff" + data[1:],
    "a list": lambda _: b"[]",
    "a number": lambda _: b"7\n",
    "other keys": lambda _: b'{"a": 1}\n',
    "NaN": lambda _: b'{"digest": NaN, "step": NaN, "final_accuracy": NaN}\n',
}  # fmt: skip
Damage = Callable[[bytes], bytes]


@pytest.fixture(params=DAMAGE)
def damage(request: pytest.FixtureRequest) -> Damage:
    return DAMAGE[request.param]


@pytest.fixture(scope="module")
def trained(
    unchanged_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Callable[[Path], dict[str, Any]]]:
    """A run of two epochs, with a checkpoint of each, and how to resume it."""
    folder = tmp_path_factory.mktemp("trained")
    sets = load_pair(unchanged_dataset, "blue-0.40", "test")
    config = TrainConfig(
        epochs=2, batch_size=32, precision="fp32", keep_checkpoints=2, network=NetworkConfig("small_cnn", 4),
        augment=AugmentConfig(crop_padding=1), optimizer=OptimizerConfig(learning_rate=0.05),
    )  # fmt: skip

    def resume(directory: Path) -> dict[str, Any]:
        return Trainer(config, *sets, CPU).run(directory, resume=True)

    resume(folder / "run")
    return folder / "run", resume


@pytest.fixture
def run(trained: tuple[Path, Any], tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained[0], tmp_path / "run"))


def have_same_result(first: Path, second: Path) -> bool:
    results = [read_result(path) or {} for path in (first, second)]
    keys = ("final_accuracy", "best_accuracy", "train_loss", "steps")
    alike = [{key: result[key] for key in keys} for result in results]
    return alike[0] == alike[1] and len(metrics.read_rows(first)) == len(metrics.read_rows(second)) == 2


def test_a_damaged_configuration_is_an_error_whose_remedy_works(
    trained: tuple[Path, Any], run: Path, damage: Damage
) -> None:
    path = run / "config.json"
    path.write_bytes(damage(path.read_bytes()))
    said = rf"{path}: damaged .*; delete {run} and run the same command"
    if damage is DAMAGE["other keys"]:  # perhaps a folder that nobody should delete
        said = rf"{path}: not the configuration of a run.* an empty or new folder$"
    for read in (trained[1], read_config):
        with pytest.raises(DataError, match=said):
            read(run)
    shutil.rmtree(run)
    trained[1](run)
    assert have_same_result(run, trained[0])


@pytest.mark.parametrize("name", ["metrics.jsonl", "result.json", "checkpoint"])
def test_other_damaged_files_are_set_aside_and_the_result_is_unchanged(
    trained: tuple[Path, Any], run: Path, damage: Damage, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint.newest(run) if name == "checkpoint" else run / name
    assert path
    if name != "result.json":
        (run / "result.json").unlink()
    path.write_bytes(damage(path.read_bytes()))
    trained[1](run)
    assert have_same_result(run, trained[0])
    printed = capsys.readouterr().err
    assert (
        f"{path.name}.damaged" in printed or name == "metrics.jsonl"
    )  # a last line that is torn is left out
    for line in printed.splitlines():
        assert str(run) in line


def test_a_checkpoint_without_the_metrics_of_earlier_epochs_is_not_used(
    trained: tuple[Path, Any], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a power failure, of two files only the checkpoint is on the disk."""
    (run / "result.json").unlink()
    path = run / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    trained[1](run)
    assert have_same_result(run, trained[0])
    assert "2 epochs are done, but metrics.jsonl holds 1" in capsys.readouterr().err


def test_a_run_whose_whole_state_is_damaged_starts_again(
    trained: tuple[Path, Any], run: Path, damage: Damage
) -> None:
    for path in run.iterdir():
        if path.name != "config.json":
            path.write_bytes(damage(path.read_bytes()))
    trained[1](run)
    assert have_same_result(run, trained[0])


@pytest.fixture(scope="module")
def finished_study(unchanged_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "study"
    assert main(three_runs(unchanged_dataset, folder)) == 0
    return folder


@pytest.fixture
def study(finished_study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_study, tmp_path / "study"))


def three_runs(dataset: Path, study: Path) -> list[str]:
    """The command that trains the study, which has three runs."""
    more = ("--levels", "0.4", "--colors", "blue", "--methods", "vanilla", "--seeds", "0", "1", "2")
    return arguments(dataset, study, *more)


def test_only_the_damaged_runs_of_a_study_are_trained_again(
    unchanged_dataset: Path, study: Path, damage: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    before = without_times(study)
    files = sorted(study.glob("runs/*/*.json*"))
    untouched = {path: path.stat().st_ino for path in files if "vanilla-2" in str(path)}
    for path in files:
        if "vanilla-0" in str(path) or ("vanilla-1" in str(path) and path.name == "result.json"):
            path.write_bytes(damage(path.read_bytes()))
    assert main(three_runs(unchanged_dataset, study)) == 0
    assert without_times(study) == before
    assert {path: path.stat().st_ino for path in untouched} == untouched
    assert "Traceback" not in capsys.readouterr().err


def test_damaged_metrics_of_a_finished_run_are_a_failure_whose_remedy_works(
    unchanged_dataset: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, before = three_runs(unchanged_dataset, study), without_times(study)
    path = next(study.glob("runs/*vanilla-0*/metrics.jsonl"))
    path.write_bytes(b"?\n" + path.read_bytes())
    assert main(command) == 1
    assert f"{path}, line 1: damaged" in capsys.readouterr().out
    shutil.rmtree(path.parent)
    assert main(command) == 0
    assert without_times(study) == before


def broken_footer(content: bytes) -> bytes:
    """Return a Parquet file whose metadata are no Thrift: Arrow raises OSError."""
    return content[:-200] + b"\xff" * 192 + content[-8:]


def name_not_utf8(content: bytes) -> bytes:
    """Return a Parquet file with a column name that is not UTF-8: pyarrow raises UnicodeDecodeError."""
    return content.replace(b"image_id", b"image\xffid").replace(b"seed", b"s\xffed")


@pytest.mark.parametrize("change", [lambda _: b"PAR1 no more", broken_footer, name_not_utf8])
def test_a_damaged_table_is_an_error_with_its_path(
    study: Path, change: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    run = next(study.glob("runs/*vanilla-0*"))
    for path, command in (
        (run / "label_trust.parquet", ["distrusted", str(run)]),
        (study / "results.parquet", ["plot", str(study)]),
    ):
        path.write_bytes(change(path.read_bytes()))
        assert main(command) == 1
        assert f"{path}: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"error": 7}', b"\xff"])
def test_a_damaged_failure_record_is_still_a_failure(tmp_path: Path, content: bytes) -> None:
    run_state.record_failure(tmp_path, "run", "out of luck")
    assert run_state.read_failure(tmp_path, "run") == "out of luck"
    (tmp_path / "failures/run.json").write_bytes(content)
    assert "run.json: damaged" in str(run_state.read_failure(tmp_path, "run"))
    assert run_state.read_state(tmp_path, "run") == run_state.FAILED


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    """A limit on the file size simulates a full disk."""
    progress = {"step": 1, "epoch": 0, "position": 1, "seconds": 1.0}
    checkpoint.save(tmp_path, {"a": torch.ones(2)}, progress, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(DataError, match=r"2.safetensors: cannot write the checkpoint .*free disk space"):
            checkpoint.save(tmp_path, {"a": torch.ones(1 << 16)}, {**progress, "step": 2}, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE_NAME.format(1)]
    assert checkpoint.load(tmp_path, CPU)[1] == progress


@pytest.mark.parametrize("noise_level", ["NaN", "1e999", '"0.4"', "null", "-1", "40"])
def test_a_manifest_with_an_invalid_noise_level_is_an_error(dataset: Path, noise_level: str) -> None:
    path = dataset / "blue-0.40/_manifest.json"
    path.write_text(path.read_text().replace('"noise_level": 0.4', f'"noise_level": {noise_level}'))
    with pytest.raises(DataError, match=str(path)):
        read_manifest(path.parent)


@pytest.mark.parametrize("content", list(DAMAGE.values()), ids=list(DAMAGE))
def test_a_damaged_manifest_is_an_error_with_its_path(dataset: Path, content: Damage) -> None:
    path = dataset / "blue-0.40/_manifest.json"
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(DataError, match=rf"{path}: .*again"):
        read_manifest(path.parent)


@pytest.mark.parametrize("flag", ["--levels", "--budget", "--resident-gb"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "x"])
def test_flags_accept_only_finite_numbers(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    verbs = {
        "--levels": ["study", "--data", "x", "--output", "y"],
        "--budget": ["study", "--data", "x", "--output", "y"],
        "--resident-gb": ["train", "--data", "x", "--set-name", "s", "--output", "y"],
    }
    with pytest.raises(SystemExit) as caught:
        main([*verbs[flag], flag, value])
    assert caught.value.code == 2
    assert flag in capsys.readouterr().err
