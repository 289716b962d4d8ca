"""The verb `study`: its plan, failures, and the configuration file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common.errors import DataError, UsageError
from tests.training.conftest import striped, write_set
from tests.training.study.small_study import QUICK, arguments, small_study, without_times
from training import train
from training.__main__ import main
from training.config import METHODS
from training.data.image_stores import StreamedImages
from training.device import available_cores
from training.run_directory import read_result
from training.study import grid, plan, plot_style, results, runner, study_verb, summary_tables


def test_the_recipe_that_suits_the_images_is_not_that_of_settings_which_name_one(
    dataset: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(name: str, *_: object, **__: object) -> tuple[str, dict[str, Any], str]:
        return ("linear_probe", {"epochs": 7}, "why") if name == "auto" else (name, {}, "")

    monkeypatch.setattr(study_verb, "resolve_recipe", resolve)
    own: dict[str, Any] = {"recipe": "cifar10n_cpu", "methods": ["vanilla"]}
    for settings in ({"own": own}, {"own": own, "chosen": {"batch_size": 16}}):
        study = small_study(recipe="auto", overrides={"threads": 1}, settings=settings)
        chosen = study_verb._with_chosen_recipe(study, dataset)
        assert (chosen.overrides, chosen.settings["own"]) == ({"threads": 1}, own)
        assert ("why" in capsys.readouterr().err) == (len(settings) == 2)
    assert chosen.settings["chosen"] == {"epochs": 7, "batch_size": 16}


def test_settings_with_the_same_recipe_are_trained_alike(dataset: Path) -> None:
    study = small_study(
        recipe="linear_probe",
        settings={"a": {}, "b": {"recipe": "linear_probe"}, "c": {"epochs": 3}},
        levels=(0.4,),
        seeds=(0,),
    )
    chosen = study_verb._with_chosen_recipe(study, dataset)
    runs = {cell.setting: cell.run.config for cell in grid.make_cells(chosen, dataset)}
    assert runs["a"] == runs["b"]
    assert (runs["a"].batch_size, runs["c"].batch_size, runs["c"].epochs) == (32, 32, 3)


def test_an_unknown_network_is_an_error_before_training(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--levels", "0.4", "--colors", "blue", "--methods", "vanilla", "--seeds", "0"]
    networks = ["--networks", "small_cnn", "torchvision/resnet81"]
    command = arguments(dataset, tmp_path / "study", *flags, *networks)
    name = command.index("network.name=small_cnn")
    assert main(command[: name - 1] + command[name + 1 :]) == 2
    assert "torchvision has no network 'resnet81'; did you mean resnet1" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_finished_runs_are_skipped_and_failed_runs_are_recorded_and_tried_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    call = arguments(
        dataset, out, "--levels", "0.0", "0.4", "--colors", "blue", "--methods", "vanilla", "mixup"
    )
    call += ["--seeds", "0"]
    trained: list[str] = []
    real = train.Trainer.run

    def run(self: Any, directory: Path, **options: Any) -> Any:
        if not directory.name.startswith("blue-"):  # the steps that are timed before
            return real(self, directory, **options)
        trained.append(directory.name)
        if "blue-0.40-mixup" in directory.name and len(trained) <= 4:
            raise RuntimeError("out of luck")
        return real(self, directory, **options)

    monkeypatch.setattr(train.Trainer, "run", run)
    assert main(call) == 1
    assert len(trained) == 4  # the failing run did not stop the others
    rows = {(row["noise_level"], row["method"]): row for row in results.read(out).to_pylist()}
    assert rows[0.4, "mixup"]["status"] == "failed"
    assert rows[0.4, "mixup"]["error"] == "RuntimeError: out of luck"
    assert rows[0.4, "mixup"]["final_accuracy"] is None
    others = [row for key, row in rows.items() if key != (0.4, "mixup")]
    assert [row["status"] for row in others] == ["finished"] * 3
    assert all(0 <= row["final_accuracy"] <= row["best_accuracy"] <= 1 for row in others)
    assert "out of luck" in summary_tables.unfinished(results.read(out)).markdown()

    assert main(call) == 0
    assert len(trained) == 5  # only what had failed was trained again
    assert set(results.read(out)["status"].to_pylist()) == {"finished"}
    capsys.readouterr()

    assert main(["plot", str(out), "--json"]) == 0
    assert (out / "figures/accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert r"| scratch | small\_cnn | blue | 40.0 | mixup | 1 |" in (out / "summary.md").read_text()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_study_and_evaluations_stream_images_if_they_are_told_to(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: str
) -> None:
    grid_of_one = ("--levels", "0.4", "--colors", "blue", "--methods", "vanilla", "--seeds", "0")
    call = arguments(dataset, tmp_path / "resident", *grid_of_one)
    assert main(call) == 0

    def decode_all(_: Any) -> None:
        raise AssertionError("images are kept in memory")

    monkeypatch.setattr(StreamedImages, "resident", decode_all)
    more = (*grid_of_one, "--jobs", jobs, "--resident-gb", "0")
    assert main(arguments(dataset, tmp_path / "streamed", *more)) == 0
    assert without_times(tmp_path / "resident") == without_times(tmp_path / "streamed")
    [run] = (tmp_path / "streamed" / "runs").iterdir()
    assert main(["evaluate", "--data", str(dataset), "--run", str(run), "--resident-gb", "0"]) == 0


def test_a_set_that_was_built_again_after_planning_is_a_failure(dataset: Path, tmp_path: Path) -> None:
    cells = grid.make_cells(small_study(levels=(0.4,), seeds=(0,)), dataset)
    shutil.rmtree(dataset / "blue-0.40")
    write_set(dataset / "blue-0.40", striped(96, 0.4, seed=9), noise_level=0.4)
    folders = runner.StudyFolders(dataset, "test", tmp_path)
    list(runner.run_all([cell.run for cell in cells], folders, jobs=1))
    [row] = results.collect(cells, tmp_path)[0].to_pylist()
    assert (row["status"], row["error"].partition(";")[0]) == (
        "failed",
        "DataError: blue-0.40: the set was built again after this study started",
    )


def test_parallel_and_sequential_runs_give_equal_results(dataset: Path, tmp_path: Path) -> None:
    plain, parallel = tmp_path / "plain", tmp_path / "parallel"
    more = ["--levels", "0.4", "--colors", "blue", "--methods", "mentormix", "--seeds", "0", "1"]
    assert main(arguments(dataset, plain, *more)) == 0
    assert main(arguments(dataset, parallel, *more, "--jobs", "2")) == 0
    one, other = (without_times(out) for out in (plain, parallel))
    assert one == other


def test_the_plan_times_untrained_configurations_and_trains_no_run(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    call = arguments(dataset, out, "--levels", "0.0", "0.4", "--colors", "blue", "--seeds", "0")

    def planned(*methods: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*call, "--methods", *methods, "--plan"]) == 0
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    first = planned("vanilla", "mentormix", "dividemix")
    assert (first["runs"], first["states"]["waiting"]) == (6, 6)
    assert first["seconds_left"] > 0
    assert not out.exists()

    assert main([*call, "--methods", "vanilla"]) == 0
    done = planned("vanilla")
    assert (done["states"]["finished"], done["seconds_left"]) == (2, 0)
    more = planned("vanilla", "mixup")
    assert (more["states"]["finished"], more["states"]["waiting"]) == (2, 2)
    assert more["seconds_left"] > 0
    call.remove("--json")
    assert main([*call, "--methods", "vanilla", "mixup", "--plan"]) == 0
    assert "4 runs: 2 finished, 2 waiting; about" in capsys.readouterr().out


def test_the_plan_is_timed_with_the_threads_of_a_job(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(plan, "_time_epochs", lambda *_: threads.append(torch.get_num_threads()) or 0.1)
    call = arguments(
        dataset, tmp_path / "study", "--levels", "0.4", "--colors", "blue", "--methods", "mixup", "--plan"
    )
    before = torch.get_num_threads()
    assert main([*call, "--jobs", "1"]) == 0
    assert main([*call, "--jobs", "1000"]) == 0
    assert threads == [min(before, available_cores()), 1]
    assert torch.get_num_threads() == before


def test_runs_with_other_initial_weights_cost_the_same(dataset: Path) -> None:
    costs = [
        plan.cost_key(cell.run)
        for weights in ("", "pretrained")
        for cell in grid.make_cells(
            small_study(levels=(0.4,), seeds=(0,), overrides=QUICK | {"network": {"weights": weights}}),
            dataset,
        )
    ]
    assert len(costs) == 2
    assert len(set(costs)) == 1


def test_the_time_estimate_includes_evaluation(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs end at 5, 7 and 12 s: training takes 2 s, and three evaluations of two batches another 3 s."""
    ends = iter((5.0, 7.0, 12.0))
    monkeypatch.setattr(plan.time, "monotonic", lambda: next(ends))
    monkeypatch.setattr(train.Trainer, "run", lambda _self, _folder, *, log, **_: [log({}) for _ in range(3)])
    rhythm = {"epochs": 4, "evaluate_every": 2, "memorized_every": 4}
    [cell] = grid.make_cells(small_study(levels=(0.4,), seeds=(0,), overrides=QUICK | rhythm), dataset)
    result = plan.make_plan([cell.run], dataset / "none", dataset, "test", measure=True)
    images, test = cell.run.images, 60
    shown = 2 * 32  # in each epoch, and in each of the three looks of the last
    assert result.seconds_left == pytest.approx(
        4 * images * 2 / shown + ((2 + 1) * test + images) * 3 / (3 * shown)
    )


def test_flags_replace_values_of_the_study_file(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "levels: [0.4]\ncolors: [blue]\nmethods: [vanilla, mixup]\nseeds: [5, 6]\noverrides: {epochs: 2}\n"
    )
    assert main(arguments(dataset, tmp_path / "out", "--config", str(file), "--seeds", "7")) == 0
    rows = results.read(tmp_path / "out").to_pylist()
    assert [(row["method"], row["seed"], row["epochs"]) for row in rows] == [
        ("mixup", 7, 1),
        ("vanilla", 7, 1),
    ]


def test_an_unknown_key_of_a_study_file_is_a_usage_error(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("level: [0.4]\n")
    assert main(arguments(dataset, tmp_path / "out", "--config", str(file))) == 2
    assert "did you mean 'levels'" in capsys.readouterr().err


def test_every_method_has_its_own_color_and_marker() -> None:
    assert plot_style.METHOD.keys() == set(METHODS)
    assert (
        len({paint for paint, _ in plot_style.METHOD.values()})
        == len({m for _, m in plot_style.METHOD.values()})
        == len(METHODS)
    )


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no results; run the study first"):
        results.read(tmp_path)
    with pytest.raises(UsageError, match="unknown recipe"):
        small_study(recipe="tinny") and grid.configure("tinny", 0.4, {})
    assert read_result(tmp_path) is None


def test_plot_does_not_import_torch(dataset: Path, tmp_path: Path) -> None:
    cells = grid.make_cells(small_study(levels=(0.4,), seeds=(0,)), dataset)
    results.write(results.collect(cells, tmp_path), tmp_path)
    code = (
        "import sys, training.__main__ as m\n"
        f"assert m.main(['plot', {str(tmp_path)!r}]) == 1\n"  # no run has finished
        "assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no run has finished" in done.stderr


def test_tables_take_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting takes 2 seconds on a clock that the test sets."""
    now, written = [0.0], []

    def collect(*_: object) -> str:
        now[0] += 2
        return "tables"

    monkeypatch.setattr(study_verb, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(study_verb.results, "collect", collect)
    monkeypatch.setattr(study_verb.results, "write", lambda *_: written.append(now[0]))
    write_tables = study_verb._TableWriter([], tmp_path, None)
    for _ in range(1000):
        write_tables()
        now[0] += 1
    assert written[0] == 2, "those of the first run are written at once"
    assert 5 <= len(written) <= 10
    assert 2 * len(written) <= 0.025 * now[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("overrides: 5", "overrides: expected keys and values, got 5"),
        ("overrides: abc", "overrides: expected keys and values, got 'abc'"),
        ("overrides: {network: abc}", "overrides.network is 'abc'"),
        ("settings: {x: {methods: [[vanilla]]}}", "settings.x.methods is [['vanilla']]"),
        ("settings: {x: {methods: [{a: b}]}}", "settings.x.methods is"),
        ("settings: {x: {methods: []}}", "settings.x.methods is []"),
        ("settings: {x: {recipe: 5}}", "settings.x.recipe is 5"),
        ("settings: {x: {recipe: null}}", "settings.x.recipe is None"),
        ("settings: {x: {recipe: [tiny]}}", "settings.x.recipe is ['tiny']"),
        ("settings: {x: {network: abc}}", "settings.x.network is 'abc'"),
        ("settings: {'': {epochs: 3}}", "settings has an empty name"),
        ("settings: {x: {epocs: 3}}", "settings.x: unknown key 'epocs'; did you mean 'epochs'?"),
        ("settings: {x: {network: {nam: a}}}", "settings.x.network: unknown key 'nam'"),
    ],
)
@pytest.mark.parametrize("networks", ["", "networks: [small_cnn]"])
def test_a_study_that_says_nothing_trainable_is_wrong_usage(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str, networks: str
) -> None:
    config = tmp_path / "study.yaml"
    config.write_text(f"levels: [0.4]\ncolors: [blue]\nmethods: [vanilla]\n{text}\n{networks}\n")
    output = str(tmp_path / "out")
    command = ["study", "--data", str(dataset), "--output", output, "--config", str(config), "--plan"]
    assert main([*command, "--recipe", "tiny", "--set", "epochs=1"]) == 2
    assert message in capsys.readouterr().err
