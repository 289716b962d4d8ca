import json
import shutil

import pytest

from tests.engines.conftest import digests, run

pytestmark = pytest.mark.skipif(
    not shutil.which("prism"), reason="no program prism on the PATH (make test-engines builds it with Go)"
)


def test_prism_writes_the_same_bytes_as_the_local_runner(world, local, tmp_path):
    done = run("build", "--config", str(world.config), "--output", str(tmp_path), "--runner=PrismRunner")
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "dataset") == digests(local / "dataset")
    reported = json.loads((tmp_path / "metrics" / "ingest.json").read_text())
    here = json.loads((local / "metrics" / "ingest.json").read_text())
    assert reported["runner"] == "PrismRunner"
    assert reported["counters"] == here["counters"]


def test_any_spelling_of_the_name_starts_the_installed_prism(world, local, tmp_path):
    done = run("ingest", "--config", str(world.config), "--output", str(tmp_path), "--runner=prism")
    assert done.returncode == 0, done.stderr
    assert "ownload" not in done.stderr
    assert digests(tmp_path / "ingest" / "images") == digests(local / "ingest" / "images")


def test_user_errors_are_reported_on_prism_too(world, tmp_path):
    web = world.folder / "broken.csv"
    web.write_bytes((world.folder / "web.csv").read_bytes() + b"\xff\xfe,ant,x.png,text,0\n")
    done = run(
        "build", "--config", str(world.config), "--set", "web=[broken.csv]", "--output", str(tmp_path), "--runner=PrismRunner",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "broken.csv" in done.stderr.splitlines()[-1]
