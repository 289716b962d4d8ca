"""Result tables without training: accuracy falls with the noise level as in the paper, and faster on blue."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from training.study.results import CURVE, RESULT

STRENGTH = {"vanilla": 1.0, "mixup": 0.75, "mentornet": 0.6, "mentormix": 0.3}
EPOCHS = range(2, 21, 2)


def synthetic_results(
    levels: Sequence[float] = (0.0, 0.2, 0.4, 0.8),
    colors: Sequence[str] = ("red", "blue"),
    methods: Sequence[str] = tuple(STRENGTH),
    seeds: Sequence[int] = (0, 1, 2),
    networks: Sequence[str] = ("small_cnn",),
    settings: Sequence[str] = ("scratch",),
) -> tuple[pa.Table, pa.Table]:
    """Return results and curves, equal at every call."""
    rows, curves = [], []
    for place in (
        (c, level, m, n, s, seed)
        for c in colors for level in levels for m in methods for n in networks for s in settings for seed in seeds
    ):  # fmt: skip
        row, epochs = _run(*place)
        rows.append(row)
        curves += epochs
    return RESULT.from_rows(rows), CURVE.from_rows(curves)


def with_a_short_setting(**axes: Any) -> tuple[pa.Table, pa.Table]:
    """Return results and curves of four methods as released, and of MentorMix with a setting of its own."""
    results, curves = synthetic_results(**axes, settings=("released", "short"))
    rows = [r for r in results.to_pylist() if r["setting"] == "released" or r["method"] == "mentormix"]
    runs = {row["run"] for row in rows}
    return RESULT.from_rows(rows), CURVE.from_rows(row for row in curves.to_pylist() if row["run"] in runs)


def _run(color: str, level: float, method: str, network: str, setting: str, seed: int) -> tuple[Any, Any]:
    chance = random.Random(f"{color} {level} {method} {network} {setting} {seed}")
    harm = STRENGTH[method] * level * (0.35 if color == "red" else 0.8)
    top = 0.7 + 0.03 * (len(network) % 5) + (0.1 if setting == "fine-tuned" else 0)
    peak = top - 0.6 * harm + chance.gauss(0, 0.006)
    final = peak - 0.5 * harm**1.5 - abs(chance.gauss(0, 0.002))
    run = f"{color}-{level:.2f}-{method}-{network}-{setting}-{seed}".replace("/", "-")
    place = {"color": color, "noise_level": level, "method": method, "network": network, "setting": setting}
    weighs = method.startswith("mentor")
    row = place | {
        "seed": seed, "run": run, "status": "finished", "final_accuracy": final, "best_accuracy": peak,
        "best_epoch": 10, "memorized": harm if level else None, "seconds": 60.0 + seed, "images_per_second": 900.0,
        "device": "cpu", "cpu": "Some CPU", "data_utilization": 1 - level if weighs else None,
        "mentor_precision": 0.9 if weighs else None, "mentor_recall": 0.8 if weighs else None,
    }  # fmt: skip
    epochs = []
    for epoch in EPOCHS:
        test = peak * (1 - math.exp(-epoch / 3)) if epoch <= 10 else peak + (final - peak) * (epoch - 10) / 10
        epoch_row: dict[str, Any] = {"run": run, "epoch": epoch, "step": 10 * epoch, "test_accuracy": test}
        if weighs:
            epoch_row["data_utilization"] = 1 - level * min(1, epoch / 8)
            epoch_row["mentor_weights"] = _weights(level)
        epochs.append(epoch_row)
    return row, epochs


def _weights(level: float) -> dict[str, Any]:
    middles = [-2.95 + 0.1 * place for place in range(60)]
    clean = [round(1000 * (1 - level) * math.exp(-((x + 0.5) ** 2) / 0.5)) for x in middles]
    noisy = [round(1000 * level * math.exp(-((x - 1) ** 2) / 0.5)) for x in middles]
    trust = [1.0 if x < 0 else 0.0 for x in middles]
    sums = {
        kind: [n * v for n, v in zip(counts, trust, strict=True)]
        for kind, counts in (("clean", clean), ("noisy", noisy))
    }
    return {"start": -3.0, "bin": 0.1, "clean": clean, "noisy": noisy, "clean_sum": sums["clean"],
            "noisy_sum": sums["noisy"]}  # fmt: skip
