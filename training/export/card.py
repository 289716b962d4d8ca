"""The model card of an exported network: README.md with the metadata that the Hugging Face hub reads."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from common.errors import UsageError
from common.plural import counted
from page.markdown import markdown_table, markdown_text, one_line
from training.config import TrainConfig
from training.records import RunData
from training.study.power import wilson

_NO_FOLDING = 1 << 20  # characters; a folded line could begin with the marks that end the header
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class HubFacts:
    """What only the person who uploads a model knows; empty: unknown."""

    license: str = ""
    """License of the weights, as the hub writes it, such as `apache-2.0`."""
    dataset_repository: str = ""
    """Repository of the dataset on the hub, `OWNER/NAME`."""

    def __post_init__(self) -> None:
        if self.license and not _LICENSE.fullmatch(self.license):
            raise UsageError(
                f"--license {self.license!r}: not a license identifier of the hub; give one such as apache-2.0 or other"
            )
        if self.dataset_repository and not _REPOSITORY.fullmatch(self.dataset_repository):
            raise UsageError(
                f"--dataset-repository {self.dataset_repository!r}: not a repository of the hub; give OWNER/NAME"
            )


def model_card(
    config: TrainConfig,
    data: RunData,
    result: dict[str, Any],
    about: dict[str, Any],
    hub: HubFacts,
    *,
    onnx: bool,
) -> str:
    """Return the text of the card; `data` and `result` are those of the run, `about` is the content of config.json."""
    metadata = yaml.safe_dump(
        _metadata(config, data, result, hub), sort_keys=False, allow_unicode=True, width=_NO_FOLDING
    )
    name = f"{about['architecture']}, trained with {config.method}"
    sections = [
        f"# {markdown_text(name)}",
        f"Trained with label noise on the set {markdown_text(data.train)}. The SHA-256 of its manifest begins with "
        f"{markdown_text(data.train_digest)}.",
        _accuracies(data, result),
        f"Classes: {', '.join(map(markdown_text, data.class_names))}.",
        f"## Preprocessing\n\n{_preprocessing(about)} These values are in config.json{' and in the metadata of model.onnx' * onnx}.",
        _use(about, onnx=onnx),
    ]
    return f"---\n{metadata}---\n" + "\n\n".join(sections) + "\n"


def _metadata(config: TrainConfig, data: RunData, result: dict[str, Any], hub: HubFacts) -> dict[str, Any]:
    """Return the header of the card, with the accuracy as an entry of the hub's `model-index`."""
    timm = config.network.name.startswith(("timm/", "tf_"))
    metadata: dict[str, Any] = {"license": hub.license} if hub.license else {}
    metadata |= {
        "library_name": "timm" if timm else "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "label-noise"],
    }
    if hub.dataset_repository:
        metadata["datasets"] = [hub.dataset_repository]
    interval = _interval(result)
    measured = {
        "task": {"type": "image-classification"},
        "dataset": {
            "type": hub.dataset_repository or "parquet",
            "name": one_line(f"{data.test} (trained on {data.train})"),
        },
        "metrics": [
            {
                "type": "accuracy",
                "value": round(result["final_accuracy"], 6),
                "name": f"Accuracy ({interval})" if interval else "Accuracy",
            }
        ],
    }
    model = one_line(f"{config.network.name.rpartition('/')[2]}-{config.method}")
    return metadata | {"model-index": [{"name": model, "results": [measured]}]}


def _interval(result: dict[str, Any]) -> str:
    """Return the Wilson interval of the accuracy in words, or nothing if the number of test images is unknown."""
    images = result.get("test_images")
    if not images:
        return ""
    low, high = wilson(result["final_accuracy"], images)
    return f"95 % interval {low:.2%} to {high:.2%}, {counted(images, 'image')}"


def _accuracies(data: RunData, result: dict[str, Any]) -> str:
    rows = [("accuracy", f"{result['final_accuracy']:.2%}", _interval(result))]
    if result.get("memorized") is not None:
        rows.append(("wrong labels of the training set that are predicted", f"{result['memorized']:.2%}", ""))
    return (
        f"Measured on the test set {markdown_text(data.test)}:\n\n{markdown_table(('', 'value', ''), rows)}"
    )


def _preprocessing(about: dict[str, Any]) -> str:
    given = about["pretrained_cfg"]
    _, height, width = given["input_size"]
    scaled = [round(side / given["crop_pct"]) for side in (height, width)]
    crop = "" if scaled == [height, width] else f" and crop the center to {height} × {width}"
    return (
        f"Resize RGB images to {scaled[0]} × {scaled[1]} pixels (bilinear; images of another shape are stretched){crop}, divide "
        f"by 255, subtract {_numbers(given['mean'])} and divide by {_numbers(given['std'])}."
    )


def _numbers(values: list[float]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"


def _use(about: dict[str, Any], *, onnx: bool) -> str:
    _, height, width = about["pretrained_cfg"]["input_size"]
    text = f"""## Use

```python
from training import load_network

network = load_network("FOLDER")
logits = network(images)  # float [B, 3, {height}, {width}] in [−1, 1], which the network normalizes by itself
```"""
    if onnx:
        text += """

```python
import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
[logits] = session.run(["logits"], {"images": normalized})  # float32, preprocessed as above
```"""
    return text
