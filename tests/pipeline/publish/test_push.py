"""The upload to a stand-in of the hub, by the command line and the real huggingface_hub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipeline.publish.conftest import STATEMENTS
from tests.pipeline.publish.hub import REPOSITORY, TOKEN, Hub, serve

ROOT = Path(__file__).parents[3]


@pytest.fixture
def hub():
    found, server = serve()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def push(world, built, tmp_path):
    """A function that publishes the small world to the stand-in, in a process of its own."""

    def run(hub: Hub, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
        config = yaml.safe_load(world.config.read_text())
        config["publication"] = {name: value for name, value in STATEMENTS.items() if name != "url"}
        (tmp_path / "build.yaml").write_text(yaml.safe_dump(config))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        settings = {
            "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        command = [
            *(
                "publish",
                str(built),
                "--config",
                str(tmp_path / "build.yaml"),
                "--to",
                str(tmp_path / "published"),
            ),
            *("--set-name", "red-0.50", *flags),
        ]
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *command], env={**clean, **settings, **environment},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_repository_becomes_the_folder(push, hub, tmp_path):
    hub.files["old-set/train.parquet"] = b"of an earlier version"
    hub.files[".gitattributes"] = b"*.parquet filter=lfs"
    done = push(hub, "--push", REPOSITORY, "--private")
    assert done.returncode == 0, done.stderr
    assert f"pushed: {hub.url}/datasets/{REPOSITORY}/commit/" in done.stdout
    assert hub.created == {"name": "ants", "organization": "ada", "visibility": "private", "type": "dataset"}
    assert hub.commits == ["Version 1.0.0"]
    assert hub.files.pop(".gitattributes")
    assert hub.files == contents(tmp_path / "published")
    assert TOKEN not in done.stdout + done.stderr
    assert f"https://huggingface.co/datasets/{REPOSITORY}".encode() in hub.files["CITATION.cff"]


def test_a_second_upload_goes_to_the_same_repository(push, hub, tmp_path):
    assert push(hub, "--push", REPOSITORY).returncode == 0
    done = push(hub, "--push", REPOSITORY, "--set", "publication.version=1.0.1")
    assert done.returncode == 0, done.stderr
    assert hub.commits == ["Version 1.0.0", "Version 1.0.1"]
    assert hub.files == contents(tmp_path / "published")
    assert sum(request.startswith("PUT") for request in hub.requests) == 0  # uploads carry no token
    assert len(hub.objects) == len({name for name in hub.files if name.endswith(".parquet")})


@pytest.mark.parametrize("token", ["", "hf_of_nobody"])
def test_a_missing_or_wrong_token_is_an_error_with_a_remedy(push, hub, token):
    done = push(hub, "--push", REPOSITORY, HF_TOKEN=token)
    assert done.returncode == 1
    assert f"error: --push {REPOSITORY}: the hub answered 401" in done.stderr
    assert "set HF_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr
    assert not hub.files


def test_an_upload_that_the_store_refuses_is_an_error(push, hub):
    hub.refuse_uploads = True
    done = push(hub, "--push", REPOSITORY)
    assert done.returncode == 1
    assert "the hub answered 403" in done.stderr
    assert not hub.commits


def test_metadata_that_the_hub_refuses_is_named_with_where_to_correct_it(push, hub):
    hub.card_errors.append('"license" must be one of [apache-2.0, mit, …]')
    done = push(hub, "--push", REPOSITORY)
    assert done.returncode == 1
    assert "the hub answered 400" in done.stderr
    assert '"license" must be one of [apache-2.0' in done.stderr
    assert "correct the metadata that the hub names in the section 'publication'" in done.stderr
    assert "run the command again" not in done.stderr
    assert not hub.commits


def test_an_unreachable_hub_is_an_error(push, hub):
    done = push(hub, "--push", REPOSITORY, HF_ENDPOINT="http://127.0.0.1:1", HF_HUB_DISABLE_XET="1")
    assert done.returncode == 1, done.stderr
    assert "the hub cannot be reached" in done.stderr


@pytest.mark.parametrize(
    "name", ["ants", "ada/ants/3", "../ants", "ada/an ts", "ada/my--ants", "ada/ants.git", "ada/ants-"]
)
def test_a_wrong_repository_is_an_error_before_anything_is_written(publish, capsys, tmp_path, name):
    assert publish("--push", name) == 2
    assert "expected USER/NAME" in capsys.readouterr().err
    assert not (tmp_path / "published").exists()


def test_private_is_about_a_repository(publish, capsys):
    assert publish("--private") == 2
    assert "--private needs --push USER/NAME; add it, or leave --private out" in capsys.readouterr().err
