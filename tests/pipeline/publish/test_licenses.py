"""Licenses as search providers write them, and images that may not be given away."""

import io

import datasets
import mlcroissant
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.publication_config import LICENSES, PublicationConfig
from pipeline.publish.card import hub_license
from pipeline.publish.images import write_csv
from pipeline.publish.licenses import CLASSES, LicensePolicy, license_class
from pipeline.publish.release import ImageFacts
from pipeline.records import read_records
from pipeline.verify.dataset import verify
from schemas.retrieval import RETRIEVAL_LIST
from tests.pipeline.built_tables import read, rows
from training.data.shards import load

DEED = "https://creativecommons.org/licenses/"


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        # Openverse: results[].license and license_version, with license_url
        ("by 2.0", DEED + "by/2.0/", "cc-by"),
        ("by-nc-nd 2.0", DEED + "by-nc-nd/2.0/", "cc-by-nc-nd"),
        ("cc0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", "cc0"),
        ("pdm 1.0", "https://creativecommons.org/publicdomain/mark/1.0/", "public-domain"),
        # Wikimedia Commons: extmetadata.LicenseShortName
        ("CC BY-SA 4.0", DEED + "by-sa/4.0", "cc-by-sa"),
        ("CC BY 2.5 nl", DEED + "by/2.5/nl/deed.en", "cc-by"),
        ("CC0", "http://creativecommons.org/publicdomain/zero/1.0/deed.en", "cc0"),
        ("Public domain", "", "public-domain"),
        ("GFDL", "", "unknown"),
        # Flickr: names of flickr.photos.licenses.getInfo
        ("Attribution-NonCommercial-ShareAlike License", DEED + "by-nc-sa/2.0/", "cc-by-nc-sa"),
        ("Attribution-NoDerivs License", "", "cc-by-nd"),
        ("All Rights Reserved", "", "all-rights-reserved"),
        ("No known copyright restrictions", "https://www.flickr.com/commons/usage/", "public-domain"),
        ("United States Government Work", "http://www.usa.gov/copyright.shtml", "public-domain"),
        # SPDX
        ("CC-BY-NC-ND-3.0-DE", "", "cc-by-nc-nd"),
        ("CC0-1.0", "", "cc0"),
        # only the URL; contradictions; several readings
        ("", DEED + "by-sa/3.0/", "cc-by-sa"),
        ("by 2.0", DEED + "by-nc/2.0/", "unknown"),
        ("CC BY-SA 3.0 or GFDL", "", "unknown"),
        ("by-sa-nd", "", "unknown"),
        ("sa 1.0", DEED + "sa/1.0/", "unknown"),
        ("", "https://example.org/creativecommons.org/licenses/by/4.0/", "unknown"),
        ("not CC BY", "", "unknown"),
        # words that restrict a license, in other scripts and languages
        ("CC BY-ＮＣ 4.0", "", "cc-by-nc"),
        ("CC BY 4.0（禁止商用）", "", "unknown"),
        ("CC BY 4.0, некоммерческое использование", "", "unknown"),
        ("CC BY 表示-非営利", "", "unknown"),
        ("CC BY 4.0 é", "", "unknown"),
        ("CC BY ≠ €", "", "unknown"),
        ("CC BY-N\u200bC", "", "unknown"),
        ("Public Domain（仅限美国）", "", "unknown"),
        ("PD-1923", "", "unknown"),
        ("“CC BY–SA\xa04.0”", "", "cc-by-sa"),
        ("© 2019 CC BY", "", "cc-by"),
        # only a whole deed is one
        ("", DEED + "by/4.0/legalcode.pt_BR", "cc-by"),
        ("", DEED + "by/2.5/scotland/?ref=openverse", "cc-by"),
        ("", DEED + "by-nc/2.0/?ref=ccsearch&atype=rich", "cc-by-nc"),
        ("", DEED + "by/2.0/?ref=ccsearch&atype=rich&terms=nc", "unknown"),
        ("CC BY", DEED + f"by/4.0/\n{DEED}by-nc/4.0/", "unknown"),
        ("CC BY", DEED + "by/4.0/ for research only", "unknown"),
        ("CC BY", f"https://example.org/ {DEED}by-nc/4.0/", "unknown"),
        ("CC BY", "https://example.org/about", "cc-by"),
        ("", "", "unknown"),
    ],
)
def test_a_license_has_the_class_of_its_terms(name, url, expected):
    assert license_class(name, url) == expected


@given(st.text(), st.text())
def test_any_text_has_a_class(name, url):
    assert license_class(name, url) in CLASSES


@given(st.text(alphabet=st.characters(exclude_characters="cCbByY"), min_size=1))
def test_text_without_the_word_by_is_never_a_license_with_attribution(name):
    assert not license_class(name, None).startswith("cc-")


def test_the_column_of_classes_equals_the_classes_one_by_one():
    values = [
        ("web", "by 2.0", None),
        ("clean", None, None),
        ("web", None, None),
        ("web", " ", DEED + "by/4.0/"),
        ("web", "CC BY 4.0\x1f-NC", None),
    ]
    table = pa.table(dict(zip(("source", "license", "license_url"), zip(*values, strict=True), strict=True)))
    policy = LicensePolicy.of(PublicationConfig(image_licenses={"clean": "cc0"}), ids_only=False)
    assert policy.classes(table).to_pylist() == ["cc-by", "cc0", "unknown", "cc-by", "unknown"]


def test_images_of_forbidden_licenses_stop_the_publication_with_counts_and_remedies(
    publish, tmp_path, capsys
):
    assert publish(image_licenses={"clean": "cc-by-nc", "test": "cc0"}) == 1
    said = capsys.readouterr().err
    assert "60 clean images with license cc-by-nc" in said
    assert "web images with license unknown" in said
    for remedy in ("--ids-only", "publication.image_licenses", "publication.allow_licenses"):
        assert remedy in said
    assert not (tmp_path / "published").exists()


def test_unknown_licenses_may_go_out_without_images_and_others_still_stop(publish, capsys):
    assert publish(image_licenses={"clean": "cc-by-nc", "test": "cc0"}, unknown_licenses="ids-only") == 1
    said = capsys.readouterr().err
    assert "60 clean images with license cc-by-nc" in said
    assert "unknown (" not in said
    assert publish(image_licenses={"clean": "cc-by", "test": "cc0"}, unknown_licenses="ids-only") == 0


@pytest.fixture
def without_unknown(publish, tmp_path):
    """A publication in which web images of unknown license are rows without image."""
    assert publish("--ids-only", image_licenses={"clean": "cc-by", "test": "cc0"}) == 0
    return tmp_path / "published"


def test_withheld_images_are_rows_without_bytes_and_all_others_stay(without_unknown, built):
    before, after = (read(folder / "red-0.50") for folder in (built / "dataset", without_unknown))
    assert after.drop_columns(["image"]).equals(before.drop_columns(["image"]))
    licenses = before["license"].to_pylist()
    sources = before["source"].to_pylist()
    expected = [s == "web" and not name for s, name in zip(sources, licenses, strict=True)]
    assert 0 < sum(expected) < 30
    for old, new, withheld in zip(
        before["image"].to_pylist(), after["image"].to_pylist(), expected, strict=True
    ):
        assert new == (None if withheld else old)


def test_verify_accepts_withheld_images_and_counts_them(without_unknown):
    result = verify(str(without_unknown))
    assert result.problems == ()
    assert result.counts["withheld_rows"] > 0


def test_verify_notices_more_withheld_rows_than_stated(without_unknown):
    path = without_unknown / "red-0.50" / "_manifest.json"
    path.write_text(path.read_text().replace('"withheld": ', '"withheld": 1'))
    assert any(
        "rows have no image, the manifest says 1" in problem
        for problem in verify(str(without_unknown)).problems
    )


def test_withheld_images_are_a_retrieval_list_with_digests(without_unknown, built):
    table = pd.read_csv(without_unknown / "withheld.csv", keep_default_na=False)
    assert set(table["license_class"]) == {"unknown"}
    stored = read(built / "ingest" / "images").select(["image_id", "sha256"]).to_pandas()
    digests = dict(zip(stored["image_id"], stored["sha256"], strict=True))
    assert all(digests[row.image_id] == row.sha256 for row in table.itertuples())
    missing = {i for name in ("red-0.20", "red-0.50") for i, row in rows(built / "dataset" / name).items()
               if row["source"] == "web" and not row["license"]}  # fmt: skip
    assert missing <= set(table["image_id"])
    [records] = read_records(str(without_unknown / "withheld.csv"), RETRIEVAL_LIST)
    assert records.rows.num_rows == len(table)
    assert not records.malformed


def test_a_publication_counts_the_withheld_images_that_nobody_can_fetch(publish, tmp_path, capsys):
    """Images of the authors' own files have no URL, and a row without one is rejected by a build that reads the list."""
    assert publish("--ids-only", image_licenses={"clean": "cc-by", "test": "cc0"}) == 0
    table = pd.read_csv(tmp_path / "published" / "withheld.csv", keep_default_na=False)
    without = table.loc[table["url"] == "", "image_id"].nunique()
    assert without == table["image_id"].nunique()
    assert f"{without} have no URL, so that others cannot fetch them" in capsys.readouterr().out
    text = (tmp_path / "published" / "README.md").read_text()
    assert text.count("none of them has a URL, so that others cannot fetch them") == 2
    assert "URLs may no longer work" not in text


def test_the_card_says_how_many_withheld_images_have_no_url():
    assert ImageFacts(withheld_images=3).withheld_urls == "some URLs may no longer work"
    some = ImageFacts(withheld_images=3, withheld_without_url=2).withheld_urls
    assert some == "2 of them have no URL, so that others cannot fetch them, and some URLs may no longer work"


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
def test_a_set_with_withheld_images_is_not_exported(without_unknown, tmp_path, capsys, kind):
    where = ["--format", kind, "--output", str(tmp_path / kind)]
    assert main(["export", str(without_unknown), "--set-name", "red-0.50", *where]) == 1
    assert "rows of red-0.50 have no image, since it may not be given away" in capsys.readouterr().err
    assert not (tmp_path / kind).exists()
    assert main(["export", str(without_unknown), "--set-name", "red-0.00", *where]) == 0


def test_a_set_with_withheld_images_is_not_trained_on(without_unknown):
    with pytest.raises(DataError, match="rows have no image, since it may not be given away"):
        load(without_unknown / "red-0.50")
    assert len(load(without_unknown / "red-0.00").labels) == 60


def test_datasets_loads_withheld_images_as_none(without_unknown, tmp_path):
    loaded = datasets.load_dataset(str(without_unknown), "red-0.50", cache_dir=str(tmp_path / "cache"))[
        "train"
    ]
    none = [row["image"] is None for row in loaded]
    assert 0 < sum(none) < 30


def test_a_shared_dataset_withholds_images_too(publish, world, tmp_path, capsys):
    build = tmp_path / "shared"
    flags = ["--set", "shards.mode=shared", "--set", "noise.colors=[red]"]
    command = [
        "build",
        "--config",
        str(world.config),
        "--output",
        str(build),
        "--direct_num_workers=1",
        *flags,
    ]
    assert main(command) == 0
    assert publish(*flags, build=build) == 0
    assert verify(str(tmp_path / "published")).problems == ()
    assert publish(*flags, "--ids-only", build=build, image_licenses={"clean": "cc-by", "test": "cc0"}) == 0
    result = verify(str(tmp_path / "published"))
    assert result.problems == ()
    assert result.counts["withheld_rows"] > 0
    withheld = set(pd.read_csv(tmp_path / "published" / "withheld.csv")["image_id"])
    assert not withheld & set(read(tmp_path / "published" / "images")["image_id"].to_pylist())
    described = mlcroissant.Dataset(jsonld=str(tmp_path / "published" / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    assert not described.metadata.ctx.issues.warnings
    assert not withheld & {record["images/image_id"].decode() for record in described.records("images")}
    where = ["--format", "folder", "--output", str(tmp_path / "exported")]
    assert main(["export", str(tmp_path / "published"), "--set-name", "red-0.50", *where]) == 1
    assert "rows of red-0.50 have no image, since it may not be given away" in capsys.readouterr().err


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))))
def test_csv_gives_back_every_text_and_no_cell_is_a_formula(texts):
    file = io.BytesIO()
    write_csv(
        pa.table({"a": pa.array(texts, pa.string()), "b": pa.array(["x"] * len(texts), pa.string())}), file
    )
    found = pd.read_csv(io.BytesIO(file.getvalue()), keep_default_na=False, dtype=str, lineterminator="\n")
    for text, cell in zip(texts, found["a"], strict=True):
        assert cell in (text, f"'{text}")
        assert cell[:1] not in ("=", "+", "-", "@", "\t")


# Identifiers of https://huggingface.co/docs/hub/repositories-licenses, as of 2026-11, for licenses of LICENSES.
HUB_LISTS = [
    "apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0",
    "cdla-permissive-2.0", "odc-by", "odbl", "pddl",
]  # fmt: skip


def test_a_card_names_a_license_as_the_hub_lists_it_or_as_other():
    found = {name: hub_license(name, url) for name, url in LICENSES.items()}
    named = {keys["license"] for keys in found.values()}
    assert named == {*HUB_LISTS, "other"}
    assert found["ODbL-1.0"] == {"license": "odbl"}
    assert found["CC-BY-SA-2.0"] == {
        "license": "other", "license_name": "cc-by-sa-2.0", "license_link": DEED + "by-sa/2.0/",
    }  # fmt: skip
    own = "https://example.org/license"
    assert hub_license(own, own) == {"license": "other", "license_name": "custom", "license_link": own}
