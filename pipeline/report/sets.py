"""Tables of classes with their pools of images, and of sets with their nominal and realized noise."""

from typing import Any, get_args

from page.table import Column, PageTable
from pipeline.layout import Layout
from pipeline.noise.true_level import describe
from pipeline.noise_config import Color
from pipeline.report.tables import BuildTables, share_with_interval, sql_literal
from pipeline.shards.dataset_manifests import read_root, read_set_manifest
from schemas.example import SHARED_IMAGES


def manifests(tables: BuildTables) -> dict[str, Any]:
    """Return the manifests of all sets by name, ordered by color and level, the test set last.

    Raises DataError for a damaged manifest.
    """
    if not tables.has("split"):
        return {}
    dataset = Layout(tables.build).dataset
    names = [name for name in read_root(dataset)[1] if name != SHARED_IMAGES]
    by_name = {name: read_set_manifest(dataset, name) for name in names}
    order = {color: index for index, color in enumerate(get_args(Color))}

    def sort_key(item: tuple[str, Any]) -> tuple[Any, ...]:
        about = item[1].about
        color = about.get("color")
        return (
            color is None,
            order.get(color, len(order)),
            color or "",
            about.get("noise_level") or 0,
            item[0],
        )

    return dict(sorted(by_name.items(), key=sort_key))


def set_table(tables: BuildTables) -> PageTable:
    """Return size, nominal and realized noise of each set, and the class that deviates most from the nominal level."""
    rows = []
    for name, manifest in manifests(tables).items():
        about, level = manifest.about, manifest.about.get("noise_level")
        within = f"FROM examples WHERE list_contains(sets, {sql_literal(name)})"
        examples = tables.listing(f"SELECT image_id {within}")
        noise: tuple[Any, ...] = (None,) * 7
        if about.get("color") and level is not None:
            wrong = tables.listing(f"SELECT image_id, source, url {within} AND NOT is_clean")
            nonempty = [entry for entry in about["classes"] if entry["rows"]]
            farthest = max(nonempty, key=lambda entry: abs(entry["noise"] - level))
            label = about["class_names"].index(farthest["class"])
            # Same rule as noise_by_class: a blue example counts in its true class.
            of_class = "CASE WHEN source = 'web' THEN label ELSE coalesce(true_label, label) END"
            its = tables.listing(
                f"SELECT image_id, source, url {within} AND NOT is_clean AND {of_class} = {label}"
            )
            realized = wrong.count / max(1, examples.count)
            estimated = about.get("estimated_noise")
            text = describe(None, estimated).removeprefix("estimated ") if estimated else None
            noise = (level, realized, text, wrong, farthest["class"], farthest["noise"], its)
        rows.append((name, examples, *noise, sum(shard.bytes for shard in manifest.shards) / 1e6))
    columns = [
        Column("set"),
        Column("examples", "count"),
        Column("nominal noise", "share"),
        Column("realized noise", "share", 3),
        Column("estimated true noise"),
        Column("wrong labels", "count"),
        Column("farthest class"),
        Column("its noise", "share", 2),
        Column("its wrong labels", "count"),
        Column("MB", "number"),
    ]
    return PageTable(
        "Sets: size, nominal, realized and estimated true noise (95 % interval; clean labels are taken as right), and the class "
        "with the largest deviation",
        columns, rows, filterable=True,
    )  # fmt: skip


def class_table(tables: BuildTables, class_names: list[str]) -> PageTable:
    """Return the number of clean, test and web images of each class, by verdict."""
    pools = {
        "clean": "source = 'clean' AND removed IS NULL",
        "test": "source = 'test'",
        "web": "source = 'web'",
        "yes": "source = 'web' AND verdict = 'yes'",
        "no": "source = 'web' AND verdict = 'no'",
        "undecided": "source = 'web' AND verdict = 'undecided'",
        "wrong": "source = 'web' AND verdict = 'no' AND removed IS NULL",
    }
    listings_by_pool = {
        name: tables.grouped(f"SELECT class_name, image_id, url FROM pairs WHERE {where}", "class_name")
        for name, where in pools.items()
    }
    rows = []
    for name in class_names:
        cells = {pool: listings.get(name) for pool, listings in listings_by_pool.items()}
        yes, no, wrong, clean = (c.count if (c := cells[k]) else 0 for k in ("yes", "no", "wrong", "clean"))
        right = share_with_interval(yes, yes + no)
        most = wrong / clean if clean else None
        rows.append((name, *(cells[k] or 0 for k in pools), right, most))
    columns = [
        Column("class"),
        Column("clean, kept", "count"),
        Column("test", "count"),
        Column("web candidates", "count"),
        Column("verified right", "count"),
        Column("verified wrong", "count"),
        Column("undecided", "count"),
        Column("wrong, kept", "count"),
        Column("precision", "share"),
        Column("wrong per clean", "share", 0),
    ]
    return PageTable(
        "Classes: images, verdicts, retrieval precision, and the ratio of kept wrong to clean images",
        columns, rows, filterable=True,
    )  # fmt: skip
