"""Label trust: formula, quality, table, and the verb `distrusted`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from common.errors import DataError
from schemas.label_trust import FILE, LABEL_TRUST
from training import distrusted
from training.__main__ import main
from training.config import METHODS, TrainConfig
from training.data.shards import ImageSet
from training.label_trust import LabelTrust, quality
from training.trainer import Trainer

CPU = torch.device("cpu")
Make = Callable[..., TrainConfig]


def test_trust_is_the_mean_of_the_label_probability_against_the_next_class(
    sets: tuple[ImageSet, ImageSet],
) -> None:
    data = sets[0].take(torch.arange(2))
    p = torch.tensor([[[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], [[0.1, 0.1, 0.8], [0.5, 0.25, 0.25]]])
    labels, trust = torch.tensor([0, 1]), LabelTrust(2, CPU)
    assert trust.add_logits([p[0, :1].log(), p[0, 1:].log()], labels, 0.5).tolist() == [0, 2]
    assert trust.add_logits([p[1].log()], labels, 1.0).tolist() == [2, 0]
    trust.add_weights(torch.tensor([1, 1]), torch.tensor([0.5, 1.0]), 0.9)
    trust.add_weights(torch.tensor([0]), torch.tensor([1.0]), 0.5)  # too early to count
    rows = trust.table(data).to_pylist()
    first, second = (0.6 / 0.9 + 0.1 / 0.9) / 2, (0.2 / 0.8 + 0.25 / 0.75) / 2
    assert [row["trust"] for row in rows] == pytest.approx([first, second])
    assert [row["guess"] for row in rows] == [2, 0]
    assert [row["guess_probability"] for row in rows] == pytest.approx([0.8, 0.5])
    assert [row["label_probability"] for row in rows] == pytest.approx([0.1, 0.25])
    assert [row["loss"] for row in rows] == pytest.approx([-np.log(0.1), -np.log(0.25)])
    assert [row["weight"] for row in rows] == [None, 0.75]


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_auroc_equals_the_u_statistic_of_scipy(examples: list[tuple[int, bool]]) -> None:
    trust = np.array([value / 4 for value, _ in examples], np.float32)
    clean = np.array([is_clean for _, is_clean in examples])
    found = quality(pa.table({"trust": trust}), clean)
    if clean.all() or not clean.any():
        assert found["distrust_auroc"] is None
        return
    u = mannwhitneyu(-trust[~clean], -trust[clean]).statistic
    assert found["distrust_auroc"] == pytest.approx(u / (clean.sum() * (~clean).sum()))


def test_precision_and_recall_count_wrong_labels_below_one_half() -> None:
    trust = np.array([0.1, 0.2, 0.5, 0.9], np.float32)
    found = quality(pa.table({"trust": trust}), np.array([False, True, False, True]))
    assert (found["distrusted"], found["distrust_precision"], found["distrust_recall"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_a_row_for_each_label(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, method: str
) -> None:
    result = Trainer(tiny_config(method=method), *sets, CPU).run(tmp_path / "run")
    table = distrusted.read(tmp_path / "run")
    assert table.schema.equals(LABEL_TRUST.schema)
    assert table["image_id"].to_pylist() == list(sets[0].image_ids)
    assert table["label"].to_pylist() == sets[0].labels.tolist()
    weighs = method in ("mentornet", "mentormix", "co_teaching")
    assert (table["weight"].null_count == 0) == weighs
    trust, clean = table["trust"].to_numpy(), sets[0].is_clean.numpy()
    assert 0 <= trust.min() <= trust.max() <= 1
    wrong_among_distrusted = (~clean)[trust < 0.5].mean() if (trust < 0.5).any() else None
    assert result["distrust_precision"] == (wrong_among_distrusted and pytest.approx(wrong_among_distrusted))
    assert result["distrust_auroc"] == quality(table, clean)["distrust_auroc"]


def test_a_run_that_learns_distrusts_the_wrong_labels(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    result = Trainer(tiny_config(method="mentormix", epochs=15), *sets, CPU).run(tmp_path / "run")
    assert result["distrust_auroc"] > 0.95
    rows = distrusted.least_trusted(distrusted.read(tmp_path / "run"), 20).to_pylist()
    true = dict(zip(sets[0].image_ids, sets[0].true_labels.tolist(), strict=True))
    assert sum(row["guess"] == true[row["image_id"]] for row in rows) >= 18


def test_a_resumed_run_writes_the_same_bytes(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config(method="mentormix", validation=0.1)
    Trainer(config, *sets, CPU).run(tmp_path / "whole")
    for step in (4, 7):
        run = Trainer(config, *sets, CPU)
        with pytest.raises(KeyboardInterrupt):
            run.run(tmp_path / "parts", resume=True, stop=lambda run=run, step=step: run.step >= step)  # type: ignore[misc]
    assert not (tmp_path / "parts" / FILE).exists()
    Trainer(config, *sets, CPU).run(tmp_path / "parts", resume=True)
    assert (tmp_path / "whole" / FILE).read_bytes() == (tmp_path / "parts" / FILE).read_bytes()
    assert pq.read_metadata(tmp_path / "whole" / FILE).num_rows == 86  # the ten held out have no row


def test_the_verb_lists_the_least_trusted_labels(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(tiny_config(), *sets, CPU).run(tmp_path / "run")
    assert main(["distrusted", str(tmp_path / "run"), "--top", "7", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    trust = [row["trust"] for row in rows]
    lowest = sorted(value for value in distrusted.read(tmp_path / "run")["trust"].to_pylist() if value < 0.5)
    assert trust == lowest[:7]
    assert main(["distrusted", str(tmp_path / "run"), "--top", "7"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{trust[0]:.3f}  {rows[0]['image_id']!r}: labeled {rows[0]['label_name']!r}")
    assert main(["distrusted", str(tmp_path)]) == 1
    assert "train it to the end" in capsys.readouterr().err
    (tmp_path / FILE).write_bytes(b"no table")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        distrusted.read(tmp_path)


def test_the_verb_says_that_no_label_is_distrusted(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(tiny_config(epochs=1), *sets, CPU).run(tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / FILE)
    trust = pa.array(np.full(len(table), 0.5, np.float32))
    pq.write_table(
        table.set_column(table.column_names.index("trust"), "trust", trust), tmp_path / "run" / FILE
    )
    capsys.readouterr()
    assert main(["distrusted", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"no label has a trust below 0.5; {tmp_path / 'run' / FILE} has the trust of all" in printed.err
