"""What `check-links` records about URLs that stay, change, move and vanish."""

import pandas as pd
import pytest

from pipeline.__main__ import main
from pipeline.links.ledger import read_checks
from tests.pipeline.fetch.conftest import Request
from tests.pipeline.links.conftest import Check, Site, png
from tests.pipeline.small_world import write_csv

NAMES = {
    "stays": "ant", "changed": "ant", "missing": "ant", "removed": "bee", "busy": "bee", "down": "bee", "moved": "bee",
    "placeholder": "bee", "page": "ant", "denied": "ant", "empty": "ant", "ftp": "ant", "reserved": "bee",
}  # fmt: skip


def decay(site: Site) -> None:
    """Change everything but the image that stays."""
    web = site.web
    web.serve("/changed.png", png("another"))
    web.serve("/missing.png", b"not here", 404)
    web.serve("/removed.png", b"", 410)
    web.serve("/new/moved.png", png("moved"))
    web.redirect("/moved.png", web.url("/new/moved.png"), 301)
    web.serve("/photo_unavailable.png", png("unavailable"))
    web.redirect("/placeholder.png", web.url("/photo_unavailable.png"))
    web.serve("/page.png", b"<!DOCTYPE html><title>Sold</title>", Content_Type="text/html")
    web.serve("/denied.png", b"", 403)
    web.serve("/empty.png", b"")
    web.serve("/down.png", b"", 503)
    web.redirect("/ftp.png", "ftp://127.0.0.1/ftp.png")
    web.serve("/reserved.png", png("reserved"), X_Robots_Tag="noai")
    answers = iter([503, 200])

    def busy(request: Request) -> None:
        status = next(answers)
        request.send_response(status)
        body = png("busy") if status == 200 else b""
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    web.raw("/busy.png", busy)


def test_each_url_gets_the_outcome_of_what_it_gives_now(site: Site, check: Check) -> None:
    site.publish(NAMES)
    check()
    assert set(site.outcomes().values()) == {"same"}
    decay(site)
    check()
    assert site.outcomes() == {
        "stays": "same", "changed": "changed", "missing": "gone", "removed": "gone", "busy": "same", "moved": "same",
        "placeholder": "changed", "page": "gone", "denied": "gone", "empty": "gone", "down": "unreachable",
        "ftp": "gone", "reserved": "forbidden",
    }  # fmt: skip
    rows = site.rows()
    assert {name: rows[name]["code"] for name in ("missing", "page", "denied", "down", "reserved", "stays")} == {
        "missing": "not_found", "page": "not_an_image", "denied": "http_status", "down": "server_error",
        "reserved": "opted_out", "stays": None,
    }  # fmt: skip
    assert [rows[name]["status"] for name in ("missing", "removed", "denied", "down")] == [404, 410, 403, 503]
    assert rows["placeholder"]["final_url"] == site.web.url("/photo_unavailable.png")
    assert rows["moved"]["image_ids"] == ["id-moved"]
    assert rows["moved"]["class_names"] == ["bee"]
    assert all(row["started_at"] <= row["checked_at"] for row in rows.values())


def test_checks_of_different_times_give_a_curve_by_check_and_by_class(site: Site, check: Check) -> None:
    site.publish(NAMES)
    check()
    decay(site)
    result = check()
    first, second = result["checks"]
    assert first["outcomes"]["same"] == pytest.approx(
        {"count": 13, "share": 1, "low": 0.7719, "high": 1}, abs=1e-4
    )
    # Wilson's interval for 3 of 13, by statsmodels.stats.proportion.proportion_confint(3, 13, method="wilson")
    expected = {"count": 3, "share": 3 / 13, "low": 0.0818, "high": 0.5026}
    assert second["outcomes"]["same"] == pytest.approx(expected, abs=1e-4)
    assert {name: each["urls"] for name, each in result["classes"].items()} == {"ant": 7, "bee": 6}
    assert result["classes"]["bee"]["outcomes"]["unreachable"]["count"] == 1
    by_pandas = pd.read_parquet(site.ledger).groupby("started_at")["outcome"].value_counts()
    assert by_pandas.sort_index().to_list() == [
        13,
        2,
        1,
        6,
        3,
        1,
    ]  # changed, forbidden, gone, same, unreachable


def test_robots_that_forbid_now_end_the_requests(site: Site, check: Check) -> None:
    site.publish({"a": "ant"})
    site.web.serve("/robots.txt", b"User-agent: *\nDisallow: /\n")
    check()
    assert site.outcomes() == {"a": "forbidden"}
    assert site.rows()["a"]["code"] == "robots_disallowed"
    assert site.web.asked == []


def test_a_host_that_confirms_a_version_sends_no_body(site: Site, check: Check) -> None:
    site.publish({"a": "ant", "b": "ant", "weak": "ant"})
    site.with_etag("a", '"v1"', png("a"))
    site.with_etag("b", '"v1"', png("another"))
    site.with_etag("weak", 'W/"v1"', png("weak"))
    check()
    check()
    assert site.outcomes() == {"a": "same", "b": "changed", "weak": "same"}
    assert {name: row["not_modified"] for name, row in site.rows().items()} == {
        "a": True,
        "b": True,
        "weak": False,
    }
    assert site.rows()["a"]["sha256"] == site.rows(0)["a"]["sha256"]
    check()  # the version is still known after a 304
    assert site.rows()["a"]["not_modified"]
    check("--full")
    assert not site.rows()["a"]["not_modified"]
    site.with_etag("a", '"v2"', png("other"))
    check()
    assert (site.outcomes()["a"], site.rows()["a"]["not_modified"]) == ("changed", False)


def test_an_etag_is_not_sent_to_the_target_of_a_redirect(site: Site, check: Check) -> None:
    """A placeholder with the same ETag would pass for the image."""
    site.publish({"a": "ant"})
    site.with_etag("a", '"1"', png("a"))
    check()
    site.with_etag("placeholder", '"1"', png("placeholder"))
    site.web.redirect("/a.png", site.web.url("/placeholder.png"))
    check()
    assert site.outcomes() == {"a": "changed"}


def test_an_unasked_304_is_no_confirmation(site: Site, check: Check) -> None:
    site.publish({"a": "ant"})
    site.web.serve("/a.png", b"", 304)
    check()
    assert site.outcomes() == {"a": "gone"}


def test_without_a_digest_the_first_image_is_what_later_checks_compare_with(site: Site, check: Check) -> None:
    site.publish({"a": "ant", "b": "bee", "page": "bee"}, digests=False)
    site.web.serve("/page.png", b"<html>")
    check()
    assert site.outcomes() == {"a": "first", "b": "first", "page": "gone"}
    site.web.serve("/b.png", png("another"))
    site.web.serve("/page.png", png("page"))
    check()
    check()
    assert site.outcomes(1) == {"a": "same", "b": "changed", "page": "first"}
    assert site.outcomes(2) == {"a": "same", "b": "changed", "page": "same"}


def test_urls_of_a_build_are_compared_with_the_files_that_its_images_were_made_from(
    site: Site, check: Check
) -> None:
    site.publish({"a": "ant", "b": "bee", "never": "bee"})
    site.web.serve("/never.png", b"", 404)
    rows = [
        *site.list.read_text().splitlines(),
        f"second,bee,{site.web.url('/a.png')},",
    ]
    (site.folder / "web.csv").write_text("\n".join(rows))
    output = site.folder / "out"
    config = [f"--config={site.folder / 'build.yaml'}", f"--set=source={site.folder}", "--set=web=[web.csv]"]
    limit = "--set=ingest.max_rejected_share=1"
    assert main(["ingest", *config, limit, "--output", str(output)]) == 0
    site.web.serve("/b.png", png("another"))
    check(source=output)
    assert site.outcomes() == {"a": "same", "b": "changed"}  # the third never was an image
    assert site.rows()["a"]["image_ids"] == ["id-a", "second"]
    assert site.rows()["a"]["class_names"] == ["ant", "bee"]


def test_a_sample_has_the_same_urls_in_every_check(site: Site, check: Check) -> None:
    site.publish({f"image{i}": "ant" for i in range(20)})
    check("--sample", "5")
    check("--sample", "5")
    assert len(site.rows(0)) == 5
    assert set(site.rows(0)) == set(site.rows(1))
    check("--sample", "8")
    assert set(site.rows(0)) < set(site.rows(2))


def test_show_requests_nothing(site: Site, check: Check) -> None:
    site.publish({"a": "ant"})
    before = check()
    asked = list(site.web.asked)
    after = check("--show")
    assert after["checks"] == before["checks"]
    assert site.web.asked == asked


def test_the_summary_is_text_too(site: Site, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    site.publish({"a": "ant", "b": "bee"})
    site.web.serve("/b.png", b"", 404)
    check()
    assert main(["check-links", str(site.list), "--ledger", str(site.ledger), "--show"]) == 0
    out = capsys.readouterr().out
    assert "50.0 % (9.5 to 90.5)" in out
    assert [line.split()[:2] for line in out.splitlines()[3:6]] == [
        ["class", "URLs"],
        ["ant", "1"],
        ["bee", "1"],
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["list.csv"], "list.csv is a list; add --ledger DIR"),
        (
            ["list.csv", "--ledger", "L", "--sample", "0"],
            "--sample 0: expected a number of URLs of at least 1",
        ),
        (
            ["list.csv", "--ledger", "L", "--set", "fetch.contact=x"],
            "--set overrides values of a configuration",
        ),
        (["list.csv", "--ledger", "L"], "there is no contact address"),
        (["list.csv", "--ledger", "L", "--contact", "a\nb"], "--contact: contact"),
    ],
)
def test_wrong_flags_name_the_remedy(
    flags: list[str], message: str, tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "list.csv", [{"image_id": "a", "class_name": "ant", "url": "http://x.example/a"}])
    assert main(["check-links", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "L").exists()


def test_a_list_without_urls_says_so(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(site.list, [{"image_id": "a", "class_name": "ant", "path": "a.png"}])
    flags = ["--ledger", str(site.ledger), "--contact", "a@example.org"]
    assert main(["check-links", str(site.list), *flags]) == 1
    assert "no row has a URL" in capsys.readouterr().err


def test_the_ledger_has_only_rows_of_its_schema(site: Site, check: Check) -> None:
    site.publish({"a": "ant"})
    check()
    assert read_checks(str(site.ledger)).num_rows == 1
    assert [path.suffix for path in site.ledger.iterdir() if not path.name.startswith(".")] == [".parquet"]
