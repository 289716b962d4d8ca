"""The report of a build as one HTML page; equal builds give equal pages."""

import json
from typing import Any

from common.errors import DataError
from page.render import content_security_policy, render
from pipeline import files
from pipeline.aggregate.verdict_checks import warnings
from pipeline.layout import Layout
from pipeline.report import audit, funnel, near_duplicates, sets, web, workers
from pipeline.report.sheets import KINDS, sheets
from pipeline.report.tables import BuildTables
from pipeline.report.thumbnails import listed_thumbnails
from pipeline.report.wrong_images import wrong_table
from pipeline.shards import directory
from schemas.manifest import MANIFEST

_LEAK_FACTS = ("image_pairs", "radius", "confirm_radius")


def write_report(build: str, output: str | None = None) -> str:
    """Write `report.html` into `output` (default: `build`) and return its path.

    `build` is the output folder of a build; unfinished stages are left out. Raises DataError if ingest has not finished.
    """
    path = Layout(output or build).report
    files.write_text(path, page(build))
    return path


def page(build: str) -> str:
    """Return the HTML of the report."""
    tables, layout = BuildTables(build), Layout(build)
    about = directory.read_manifest(layout.dataset).about if tables.has("split") else {}
    config, class_names = about.get("config", {}), tables.lists.classes
    try:
        min_confidence = float(config.get("noise", {}).get("min_confidence", 0.0))
        settings = json.dumps({**tables.lists.config, **config}, indent=1, ensure_ascii=False)
        leaks = {key: int(about["leaks"][key]) for key in _LEAK_FACTS} if about else {}
        leak_search = str(about["leaks"].get("search", "")) if about else ""
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DataError(
            f"{files.join(layout.dataset, MANIFEST)}: the stored configuration is not valid ({error}); run split again "
            "or restore the file"
        ) from error
    steps = funnel.funnels(tables, min_confidence)
    has = {stage: tables.has(stage) for stage in ("aggregate", "audit", "dedupe", "split")}

    values: dict[str, Any] = {
        "name": str(about.get("name") or config.get("name") or "Build report"),
        "has": has,
        "outdated": tables.outdated,
        "method_warnings": _method_warnings(build) if has["aggregate"] else [],
        "tiles": _tiles(tables, steps),
        "funnels": [funnel.table(source, of) for source, of in steps.items() if of[0].left.count],
        "classes": sets.class_table(tables, class_names),
        "wrong_images": wrong_table(tables, class_names) if has["aggregate"] else None,
        "sets": sets.set_table(tables) if has["split"] else None,
        "leaks": leaks,
        "leak_search": leak_search,
        "sheets": sheets(tables, class_names),
        "kinds": {kind: title for kind, (title, _) in KINDS.items()},
        "audit_tables": audit.audit_tables(tables),
        "suspects": audit.suspect_figures(tables),
        "duplicates": near_duplicates.duplicate_table(tables),
        "several": near_duplicates.several_table(tables),
        "several_figures": near_duplicates.several_figures(tables),
        "several_rows": near_duplicates.several_rows(tables),
        "agreement": workers.agreement_table(tables),
        "suspected": workers.suspected_table(tables),
        "workers": workers.worker_table(tables),
        "worker_chart": workers.worker_chart(tables),
        "precision": workers.precision_table(tables),
        "rejections": web.rejection_table(tables, "rejections", "Rejected list rows"),
        "vote_rejections": web.rejection_table(tables, "vote_rejections", "Rejected votes"),
        "hosts": web.host_table(tables),
        "speed": web.speed_table(build),
        "settings": settings,
        "views": tables.script(),
    }
    values["thumbnails"] = listed_thumbnails(tables)  # of the images that the tables above list
    return render("pipeline.report", "report.html", content_security_policy(), **values)


def _method_warnings(build: str) -> list[str]:
    """Return the warnings about the aggregation method, from the manifest of the verdicts."""
    about = directory.read_manifest(Layout(build).verdicts).about
    config, counts = about.get("config", {}), about.get("counts", {})
    method = config.get("aggregate", {}).get("method", "") if isinstance(config, dict) else ""
    is_counted = isinstance(counts, dict) and all(isinstance(number, int) for number in counts.values())
    return list(warnings(counts, str(method))) if is_counted else []


def _tiles(tables: BuildTables, steps: dict[str, list[funnel.FunnelStep]]) -> list[tuple[str, Any, str]]:
    """Return the key numbers at the top of the page: name, number, explanation."""
    rows = sum(of[0].left.count for of in steps.values())
    rejected = tables.listing('SELECT "location", image_id, code FROM rejections')
    tiles: list[tuple[str, Any, str]] = [
        ("images", tables.listing("SELECT image_id, source FROM images"), f"from {rows:,} list rows"),
        ("rejected rows", rejected, f"{100 * rejected.count / max(1, rows):.1f} % of the rows"),
    ]
    if tables.has("aggregate"):
        wrong = tables.listing(
            "SELECT image_id, class_name, yes, no, unsure FROM verdicts WHERE verdict = 'no'"
        )
        [(questions, workers)] = tables.rows(
            "SELECT (SELECT count(*) FROM verdicts), (SELECT count(*) FROM workers)"
        )
        tiles.append(("verified wrong", wrong, f"of {questions:,} questions to {workers:,} workers"))
    if tables.has("dedupe"):
        removed = "SELECT image_id, source, keeper_id, distance_256 FROM duplicates WHERE removed AND reason "
        tiles.append(
            ("leaks removed", tables.listing(removed + "= 'leak'"), "near-duplicates of test images")
        )
        tiles.append(
            (
                "near-duplicates removed",
                tables.listing(removed + "<> 'leak'"),
                "of other images that are kept",
            )
        )
    if tables.has("split"):
        manifests = sets.manifests(tables)
        examples = sum(manifest.rows for manifest in manifests.values())
        tiles.append(("sets", len(manifests), f"with {examples:,} examples"))
    return tiles
