"""The stage embed: its bytes depend on nothing but images, weights and configuration, and finished work is kept."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.embed import loading
from pipeline.embed.features import read_features
from pipeline.embed.network import Network
from pipeline.embed.preprocess import read_pixels
from pipeline.running import metrics_file
from pipeline.shards import directory
from schemas.image import IMAGES
from schemas.manifest import MANIFEST
from tests.pipeline.built_tables import digests
from tests.pipeline.embed.conftest import NETWORK, save_weights, spec_of
from tests.pipeline.jobs.attempts import MODES, repeat_everything
from tests.pipeline.small_world import ONE_PROCESS, World, picture


@pytest.fixture
def output(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "out"))


@pytest.fixture(scope="module")
def flags(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    weights = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(weights)
    keys = {"weights": weights, "network": NETWORK, "size": 64, "batch_size": 8}
    return [
        "--config", str(world.config), *(f"--set=embed.{key}={value}" for key, value in keys.items())
    ]  # fmt: skip


@pytest.fixture(scope="module")
def expected(
    built: Path, flags: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str]]:
    """The output of a stage that nothing disturbed, and its digests."""
    output = tmp_path_factory.mktemp("expected") / "out"
    shutil.copytree(built, output)
    assert main(["embed", *flags, "--output", str(output), ONE_PROCESS]) == 0
    return output, digests(output / "embed")


def embed(flags: list[str], output: Path, *more: str) -> int:
    given = () if any(flag.startswith("--direct_num_workers") for flag in more) else (ONE_PROCESS,)
    return main(["embed", *flags, "--output", str(output), *given, *more])


def counter(output: Path, name: str) -> int:
    return int(metrics_file.read(str(output), "embed")["counters"].get(f"embed.{name}", 0))


def test_each_image_has_the_features_that_the_network_gives_for_it_alone(
    expected: tuple[Path, dict[str, str]], flags: list[str]
) -> None:
    output, _ = expected
    features = read_features(str(output / "embed" / "features"), check_digests=True)
    images = directory.read_table(str(output / "ingest" / "images"), IMAGES, ["image_id", "image"])
    assert features.image_ids.to_pylist() == images["image_id"].to_pylist()
    weights = next(flag.partition("weights=")[2] for flag in flags if "weights=" in flag)
    network = loading.open_network(spec_of(Path(weights), size=64, batch_size=8))
    for row in range(0, images.num_rows, 17):
        encoded = images["image"][row]["bytes"].as_py()
        assert features.image_sha256[row].as_py() == hashlib.sha256(encoded).hexdigest()
        alone = network.features(read_pixels(encoded, "x", network.preprocessing)[None])
        assert np.array_equal(features.vectors[row], alone[0])


def test_the_number_of_threads_does_not_change_a_byte(
    expected: tuple[Path, dict[str, str]], flags: list[str], output: Path
) -> None:
    assert embed(flags, output, "--direct_num_workers=3") == 0
    assert digests(output / "embed") == expected[1]


@pytest.mark.parametrize("mode", MODES)
def test_tasks_may_run_more_than_once(
    expected: tuple[Path, dict[str, str]],
    flags: list[str],
    output: Path,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repeat_everything(monkeypatch, mode)
    assert embed(flags, output) == 0
    assert digests(output / "embed") == expected[1]


def fail_after(batches: int) -> Callable:
    """Return `Network.features` that fails after some batches, as if the process had been killed there."""
    original, left = Network.features, [batches]

    def features(self: Network, pixels: np.ndarray) -> np.ndarray:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(self, pixels)

    return features


def test_an_interrupted_stage_continues_with_the_buckets_that_are_left(
    expected: tuple[Path, dict[str, str]], flags: list[str], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Network, "features", fail_after(15))
        assert embed(flags, output) == 130
    assert not (output / "embed" / "features" / MANIFEST).exists()
    parts = list((output / "embed" / "partial").glob("*/*.arrow"))
    assert 1 <= len(parts) < 8
    parts[0].write_bytes(b"x" + parts[0].read_bytes()[1:])  # a damaged one is computed again
    assert embed(flags, output) == 0
    assert digests(output / "embed") == expected[1]
    assert counter(output, "reused") > 0 or len(parts) == 1
    assert counter(output, "computed") + counter(output, "reused") == 213


def test_only_changed_images_are_computed_and_the_result_is_that_of_a_fresh_stage(
    world: World, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "set", tmp_path / "out"
    shutil.copytree(world.folder, folder)
    changed = [*flags, f"--set=source={folder}"]

    def run(verb: str, place: Path) -> None:
        assert main([verb, *changed, "--output", str(place), ONE_PROCESS]) == 0

    run("ingest", output)
    run("embed", output)
    for name in ("clean-ant-3", "web-cow-7"):
        picture(f"another {name}").save(folder / "images" / f"{name}.png")
    run("ingest", output)
    capsys.readouterr()
    run("embed", output)
    assert "features of 211 unchanged images were reused" in capsys.readouterr().out
    assert counter(output, "computed") == 2
    run("ingest", tmp_path / "fresh")
    run("embed", tmp_path / "fresh")
    assert digests(output / "embed") == digests(tmp_path / "fresh" / "embed")


def test_features_of_another_version_of_torch_are_not_reused(
    world: World, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = tmp_path / "set", tmp_path / "out"
    shutil.copytree(world.folder, folder)
    changed = [*flags, f"--set=source={folder}"]
    for verb in ("ingest", "embed"):
        assert main([verb, *changed, "--output", str(output), ONE_PROCESS]) == 0
    picture("another image").save(folder / "images" / "clean-ant-3.png")
    assert main(["ingest", *changed, "--output", str(output), ONE_PROCESS]) == 0
    monkeypatch.setattr("pipeline.jobs.embed.network_libraries", lambda: {"torch": "9.9", "timm": None})
    assert embed(changed, output) == 0
    assert counter(output, "reused") == 0


def test_the_stage_is_up_to_date_until_weights_or_configuration_change(
    expected: tuple[Path, dict[str, str]],
    flags: list[str],
    output: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert embed(flags, output) == 0
    moved = tmp_path / "moved.safetensors"
    shutil.copy(next(flag.partition("weights=")[2] for flag in flags if "weights=" in flag), moved)
    capsys.readouterr()
    assert embed([*flags, f"--set=embed.weights={moved}"], output) == 0  # the same content
    assert capsys.readouterr().out == "embed     up to date\n"
    save_weights(moved, seed=1)
    assert embed([*flags, f"--set=embed.weights={moved}"], output, "--json") == 0
    assert json.loads(capsys.readouterr().out)["embed"] == {
        "up_to_date": False, "images": 213, "dimension": 256
    }  # fmt: skip
    assert counter(output, "reused") == 0
    assert digests(output / "embed") != expected[1]
    assert embed(flags, output, "--set=embed.batch_size=9") == 0
    assert counter(output, "computed") == 213
    assert embed(flags, output) == 0
    assert digests(output / "embed") == expected[1]
    assert embed(flags, output, "--force") == 0
    assert counter(output, "computed") == 213


def test_damaged_features_are_computed_again(
    expected: tuple[Path, dict[str, str]], flags: list[str], output: Path
) -> None:
    assert embed(flags, output) == 0
    shard = next((output / "embed" / "features").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-9] + b"123456789")
    assert embed(flags, output) == 0
    assert 0 < counter(output, "computed") < 213
    assert digests(output / "embed") == expected[1]


def test_a_build_without_weights_has_no_such_stage(
    world: World, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not (built / "embed").exists()
    assert main(["embed", "--config", str(world.config), "--output", str(tmp_path / "out")]) == 2
    assert "embed.weights is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value", "code", "message"),
    [
        ("network", "''", 2, "embed.network is missing"),
        ("network", "tset_efficientnet", 2, "did you mean test_efficientnet"),
        ("network", "test_resnet", 1, "not weights of timm's test_resnet"),
        ("weights", "weights.pth", 2, "is not a .safetensors file"),
        ("weights", "absent.safetensors", 1, "no such file; correct embed.weights"),
        ("size", "0", 2, "size must be 8 to 8,192, got 0"),
        ("std", "[0, 1, 1]", 2, "std must be above 0"),
        ("mean", "[127, 127, 127]", 2, "mean must be three numbers from 0 to 1"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_stage_runs(
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: str,
    code: int,
    message: str,
) -> None:
    output = tmp_path / "out"
    assert main(["build", *flags, f"--set=embed.{key}={value}", "--output", str(output)]) == code
    assert message in capsys.readouterr().err
    assert not (output / "ingest").exists()


def test_missing_libraries_are_named_with_the_command_that_installs_them(
    flags: list[str], output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "timm" else object())
    assert embed(flags, output) == 2
    error = capsys.readouterr().err
    assert "the stage embed needs timm; pip install" in error


def test_a_dry_run_states_what_the_stage_reads_and_writes(
    flags: list[str], output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *flags, "--output", str(output), "--dry-run", "--json"]) == 0
    stage = json.loads(capsys.readouterr().out)["stages"]["embed"]
    assert stage["state"] == "would run"
    assert stage["reads"][1:] == [f"{output}/ingest/images"]
    assert stage["writes"] == [f"{output}/embed/features"]
