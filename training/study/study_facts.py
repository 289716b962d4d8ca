"""What a study was trained and tested on, and how: the facts that its page and its summary start with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.json_records import parse_json
from common.plural import counted
from training.study.estimates import sizes
from training.study.summary_tables import finished

STUDY_FILE = "study.json"  # configuration of the study, and `dataset`: the name of the dataset
CLASSES_NAMED = 12


def study_facts(results: pa.Table, studies: Sequence[Path]) -> list[tuple[str, str]]:
    """Return titles and texts: dataset, classes, test set, recipe, grid and training.

    They come from the results, from the `study.json` of each folder, and from the `config.json` of its first finished run.
    Facts that are unknown, as in old studies, are left out; facts that differ between the folders are joined.
    """
    rows = finished(results)
    plans = [content for study in studies if (content := _read(study / STUDY_FILE))]
    data = [content for study in studies if (content := _data_of_a_run(study, rows))]
    facts = {
        "dataset": _joined(_text(plan.get("dataset")) for plan in plans),
        "classes": _joined(_classes(of.get("class_names")) for of in data),
        "images": _joined(_image_size(of.get("image_size")) for of in data),
        "test set": _test_set(data, sizes(rows)),
        "recipe": _joined(text for plan in plans for text in _recipes(plan)),
        "changed keys": _joined(_pairs(plan.get("overrides")) for plan in plans),
        "training": _epochs({row["epochs"] for row in rows if row["epochs"]}),
        "grid": _grid(results.to_pylist()),
    }
    return [(title, text) for title, text in facts.items() if text]


def _read(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file; {} if it is missing or damaged."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _data_of_a_run(study: Path, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the description of the sets of the first finished run in a folder; {} if there is none."""
    for name in sorted({row["run"] for row in rows}):
        data = _read(study / "runs" / name / "config.json").get("data")
        if isinstance(data, Mapping):
            return data
    return {}


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, texts)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _classes(names: Any) -> str:
    if not isinstance(names, list) or not names:
        return ""
    rest = f" and {len(names) - CLASSES_NAMED:,} more" if len(names) > CLASSES_NAMED else ""
    return f"{len(names):,}: {', '.join(map(str, names[:CLASSES_NAMED]))}{rest}"


def _image_size(size: Any) -> str:
    if not isinstance(size, list) or len(size) != 2:
        return ""
    height, width = size
    return f"{width} × {height} pixels"


def _test_set(data: Iterable[Mapping[str, Any]], numbers: Sequence[int]) -> str:
    name = _joined(_text(of.get("test")) for of in data)
    images = f"{' or '.join(f'{number:,}' for number in numbers)} images" if numbers else ""
    return ", ".join(filter(None, (name, images)))


def _epochs(numbers: set[int]) -> str:
    unit = "epoch" if numbers == {1} else "epochs"
    return f"{' or '.join(map(str, sorted(numbers)))} {unit}" if numbers else ""


def _recipes(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield a text for each setting: its methods if these are not all, its recipe, and the keys that it changes."""
    recipe, settings = _text(plan.get("recipe")), plan.get("settings")
    if not isinstance(settings, Mapping) or not settings:
        settings = {"": {}}
    for name, changes in settings.items():
        own = dict(changes) if isinstance(changes, Mapping) else {}
        used, methods = _text(own.pop("recipe", recipe)), own.pop("methods", None)
        only = f" ({', '.join(map(str, methods))})" if isinstance(methods, list) else ""
        changed = _pairs(own)
        yield (f"{name}{only}: " if name else "") + used + (f" with {changed}" if changed else "")


def _pairs(changes: Any) -> str:
    return ", ".join(f"{key} = {value}" for key, value in _flat(changes))


def _flat(changes: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of nested changes."""
    for key, value in changes.items() if isinstance(changes, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _grid(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the numbers of values of each axis, with the colors by name."""
    counts = {
        axis: len({row[name] for row in rows})
        for axis, name in {"method": "method", "noise level": "noise_level", "network": "network",
                           "setting": "setting", "seed": "seed"}.items()
    }  # fmt: skip
    colors = ", ".join(sorted({row["color"] for row in rows}))
    parts = [counted(count, axis) for axis, count in counts.items()]
    return f"{', '.join(parts)}; {colors} noise"
