"""The fetch stage as a whole: each URL once, limits of the run, and removed bodies."""

# ruff: noqa: F811  fixtures of other folders are imported by name

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import DataError
from pipeline import files
from pipeline.__main__ import main
from pipeline.config import load_config
from pipeline.fetch import host_groups
from pipeline.jobs import ingest
from pipeline.layout import Layout
from pipeline.shards import directory
from schemas.fetched import FETCHED
from schemas.image import IMAGES
from schemas.rejection import REJECTION
from tests.pipeline.fetch.conftest import Web, web  # noqa: F401  fixture
from tests.pipeline.fetch.counting import counting_server, image_list, write_world
from tests.pipeline.ingest.conftest import encoded, smooth  # noqa: F401  fixtures

ONE = "--direct_num_workers=1"
TWO_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def fetched(output: Path) -> list[dict]:
    return directory.read_table(Layout(str(output)).fetched, FETCHED).to_pylist()


@pytest.mark.parametrize("flags", [(ONE,), TWO_PROCESSES], ids=["one process", "two processes"])
@pytest.mark.parametrize("hosts", [6, 1], ids=["small hosts", "a large host"])
def test_the_limits_of_a_host_hold_for_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], hosts: int
) -> None:
    monkeypatch.setattr(host_groups, "URLS_PER_GROUP", 10)
    monkeypatch.setattr(host_groups, "URLS_PER_SHARE", 20)
    monkeypatch.setattr(host_groups, "TASK_RATE", 10.0)
    rate, fetches, each = (20, 2, 20) if hosts > 1 else (40, 4, 80)
    with counting_server() as (port, counts):
        names = [f"127.0.0.{1 + i}" for i in range(hosts)]
        urls = [f"http://{name}:{port}/{i}" for name in names for i in range(each)]
        config = write_world(tmp_path / "lists", [*urls, *urls[:10]], fetches, rate)
        assert main(["fetch", "--config", str(config), "--output", str(tmp_path / "out"), *flags]) == 0
    assert sum(counts.bodies.values()) == len(urls)
    for name in names:
        assert counts.bodies[name] == each
        assert counts.policies[name] == 2
        assert counts.most[name] <= fetches
        assert counts.most_in_a_second(name) <= rate + 1
    rows = fetched(tmp_path / "out")
    assert sorted(row["url"] for row in rows) == sorted(urls)
    assert {row["code"] for row in rows} == {None}


def test_a_url_under_two_ids_is_fetched_once(
    tmp_path: Path,
    web: Web,
    smooth: Callable,
    encoded: Callable,
) -> None:
    config, output = image_list(tmp_path, web, smooth, encoded), tmp_path / "out"
    assert main(["ingest", "--config", str(config), "--output", str(output), ONE]) == 0
    assert sorted(web.asked) == ["/0", "/1", "/2", "/3", "/4", "/gone"]
    images = directory.read_manifest(Layout(str(output)).images)
    assert images.rows == 6


def test_fetching_again_changes_no_later_stage(
    tmp_path: Path,
    web: Web,
    smooth: Callable,
    encoded: Callable,
) -> None:
    """Times and positions differ from run to run; what was found does not, and only that is part of later keys."""
    config = image_list(tmp_path, web, smooth, encoded)
    manifests = []
    for name in ("one", "two"):
        output = tmp_path / name
        assert main(["ingest", "--config", str(config), "--output", str(output), ONE]) == 0
        paths = Layout(str(output)).ingest_tables
        manifests.append(
            [(Path(paths[table]) / "_manifest.json").read_bytes() for table in ("images", "retrievals")]
        )
    assert manifests[0] == manifests[1]


def test_without_keep_bodies_they_are_removed_and_fetched_again_when_needed(
    tmp_path: Path,
    web: Web,
    smooth: Callable,
    encoded: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, output = image_list(tmp_path, web, smooth, encoded, keep_bodies=False), tmp_path / "out"
    command = ["ingest", "--config", str(config), "--output", str(output), ONE]
    assert main(command) == 0
    assert not list(Path(Layout(str(output)).bodies).glob("*.bodies"))
    web.asked.clear()
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == ["fetch     up to date", "ingest    up to date"]
    assert main([*command, "--dry-run"]) == 0
    assert "fetch     up to date" in capsys.readouterr().out
    assert main([*command, "--set", "ingest.size=20", "--dry-run"]) == 0
    assert "fetch     would run" in capsys.readouterr().out
    assert web.asked == []
    assert main([*command, "--set", "ingest.size=20"]) == 0
    assert sorted(web.asked) == ["/0", "/1", "/2", "/3", "/4"]
    assert directory.read_manifest(Layout(str(output)).images).rows == 6


def test_bodies_are_fetched_again_when_needed_if_only_some_are_left(
    tmp_path: Path, web: Web, smooth: Callable, encoded: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a command leaves them that was killed while it removed them."""
    config, output = image_list(tmp_path, web, smooth, encoded), tmp_path / "out"
    command = ["ingest", "--config", str(config), "--output", str(output), ONE]
    assert main(command) == 0
    web.serve("/gone", encoded(smooth(7, 40, 40), "PNG"))
    assert main([*command, "--retry", "not_found"]) == 0
    first, _ = sorted(Path(Layout(str(output)).bodies).glob("*.bodies"))
    first.unlink()
    web.asked.clear()
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == ["fetch     up to date", "ingest    up to date"]
    assert main([*command, "--set", "ingest.size=20"]) == 0
    assert sorted(web.asked) == ["/0", "/1", "/2", "/3", "/4"]
    assert directory.read_manifest(Layout(str(output)).images).rows == 7


def test_a_dry_run_shows_that_codes_to_retry_are_fetched(
    tmp_path: Path, web: Web, smooth: Callable, encoded: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output = image_list(tmp_path, web, smooth, encoded), tmp_path / "out"
    command = ["ingest", "--config", str(config), "--output", str(output), ONE]
    assert main(command) == 0
    capsys.readouterr()
    for more, state in (([], "up to date"), (["--retry", "not_found"], "would run")):
        assert main([*command, "--dry-run", "--json", *more]) == 0
        assert json.loads(capsys.readouterr().out)["stages"]["fetch"]["state"] == state


def test_ingest_without_its_fetched_rows_names_the_stage_to_run(
    tmp_path: Path,
    web: Web,
    smooth: Callable,
    encoded: Callable,
) -> None:
    """As a template does, which is one job: ingest alone."""
    config = load_config(str(image_list(tmp_path, web, smooth, encoded)), [])
    with pytest.raises(DataError, match="fetch"):
        ingest.run(config, str(tmp_path / "out"), [ONE])


def test_a_changed_or_deleted_file_is_ingested_again(
    tmp_path: Path,
    smooth: Callable,
    encoded: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = write_world(tmp_path / "lists", [], 4, 0)
    folder = config.parent
    for i in range(3):
        (folder / f"{i}.png").write_bytes(encoded(smooth(i, 40, 40), "PNG"))
    (folder / "web.csv").write_text(
        "image_id,class_name,path\n" + "".join(f"i{i},a,{i}.png\n" for i in range(3))
    )
    command = [
        "ingest",
        "--config",
        str(config),
        "--output",
        str(tmp_path / "out"),
        ONE,
        "--set",
        "ingest.size=16",
    ]

    def images() -> dict[str, str]:
        table = directory.read_table(Layout(str(tmp_path / "out")).images, IMAGES, ["image_id", "sha256"])
        return dict(zip(*table.to_pydict().values(), strict=True))

    assert main(command) == 0
    before = images()
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out == "ingest    up to date\n"
    (folder / "1.png").write_bytes(encoded(smooth(9, 40, 40), "PNG"))
    assert main(command) == 0
    changed = images()
    assert {name for name in before if before[name] != changed[name]} == {"i1"}
    (folder / "2.png").unlink()
    assert main(command) == 0
    assert images().keys() == {"i0", "i1"}


def test_a_file_that_changed_only_for_a_killed_run_is_ingested_again(
    tmp_path: Path, smooth: Callable, encoded: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is killed after it has replaced the tables, and before it records the versions of the files."""
    config = write_world(tmp_path / "lists", [], 4, 0)
    image, layout = config.parent / "0.png", Layout(str(tmp_path / "out"))
    image.write_bytes(encoded(smooth(0, 40, 40), "PNG"))
    (config.parent / "web.csv").write_text("image_id,class_name,path\ni0,a,0.png\n")
    command = ["ingest", "--config", str(config), "--output", layout.output, ONE]
    assert main(command) == 0
    before, status = (Path(layout.images) / "_manifest.json").read_bytes(), image.stat()
    image.rename(tmp_path / "kept.png")
    image.write_bytes(encoded(smooth(1, 40, 40), "PNG"))
    write_text = files.write_text

    def killed(path: str, text: str) -> None:
        if path == layout.source_versions:
            raise DataError("killed")
        write_text(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_text", killed)
        assert main(command) == 1
    assert (Path(layout.images) / "_manifest.json").read_bytes() != before
    (tmp_path / "kept.png").rename(image)
    assert image.stat().st_mtime_ns == status.st_mtime_ns
    assert main(command) == 0
    assert (Path(layout.images) / "_manifest.json").read_bytes() == before


def test_hostile_urls_and_locations_affect_only_their_rows(
    tmp_path: Path, web: Web, smooth: Callable, encoded: Callable
) -> None:
    config = image_list(tmp_path, web, smooth, encoded, max_attempts=1, timeout_seconds=5)
    hostile = [
        "http://xn--a.example/x.jpg",
        "https://[v1.a]*:1@",
        "http://[",
        "http://\u2100.test/",
        "http://x:99999/",
        "x",
    ]
    for i, url in enumerate(hostile):
        web.redirect(f"/to/{i}", url.encode().decode("latin-1"))
    urls = [*hostile, *(web.url(f"/to/{i}") for i in range(len(hostile)))]
    with (config.parent / "web.csv").open("a") as file:
        file.writelines(f"hostile-{i},a,{url}\n" for i, url in enumerate(urls))
    output = tmp_path / "out"
    assert main(["ingest", "--config", str(config), "--output", str(output), ONE]) == 0
    rejected = directory.read_table(Layout(str(output)).rejections, REJECTION).to_pylist()
    assert {row["image_id"] for row in rejected} == {"id-5", *(f"hostile-{i}" for i in range(len(urls)))}
    assert directory.read_manifest(Layout(str(output)).images).rows == 6
