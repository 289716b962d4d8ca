import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from schemas.manifest import Manifest, Shard

MANIFEST = Manifest(
    "image", 3, (Shard("part-00000-of-00001.parquet", 3, 100, "ab"),), {"classes": ["Äpfel", "b"]}
)


def changed(**values: object) -> str:
    return json.dumps(json.loads(MANIFEST.to_json()) | values)


def test_a_manifest_comes_back_as_it_was_written() -> None:
    assert Manifest.from_json(MANIFEST.to_json(), "here") == MANIFEST


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4))
def test_equal_manifests_are_equal_bytes_however_their_facts_were_gathered(about: dict[str, object]) -> None:
    backwards = dict(reversed(list(about.items())))
    first, second = Manifest("image", 0, (), about), Manifest("image", 0, (), backwards)
    assert first.to_json() == second.to_json()
    assert Manifest.from_json(first.to_json(), "here") == second


@pytest.mark.parametrize(
    "name", ["../x.parquet", "a/b.parquet", "/etc/passwd", "..", ".hidden", "a\\b.parquet", "", "a\x00b"]
)
def test_a_shard_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    shard = {"file": name, "rows": 1, "bytes": 1, "sha256": "ab"}
    with pytest.raises(DataError, match=r"here: shard name .* do not use this table"):
        Manifest.from_json(changed(shards=[shard]), "here")


def test_another_version_is_reported() -> None:
    with pytest.raises(DataError, match="here: manifest version 99 instead of 1"):
        Manifest.from_json(changed(version=99), "here")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        changed(shards=3),
        changed(shards=[{"file": "x"}]),
        changed(shards=[{"file": 3, "rows": 1, "bytes": 1, "sha256": "ab"}]),
        changed(shards=["part.parquet"]),
        changed(about=None),
        changed(rows="many"),
    ],
)
def test_an_invalid_manifest_is_reported(text: str) -> None:
    with pytest.raises(DataError, match="here: not a manifest"):
        Manifest.from_json(text, "here")
