"""Write a network as an ONNX graph, with class names and preprocessing in its metadata."""

import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from common.errors import UsageError
from common.extras import install_command

OPSET = 18  # the oldest that torch's exporter writes, so that most runtimes read the file
INPUT, OUTPUT = "images", "logits"


def onnx_bytes(network: nn.Module, about: Mapping[str, Any]) -> bytes:
    """Return an ONNX file from `images` float32 [B, 3, H, W], preprocessed, to `logits` float32 [B, classes]; B is free.

    `about`: content of config.json. Its class names and preprocessing become the metadata `class_names` and
    `preprocessing`, in JSON. Raises UsageError if a package is missing, or if torch cannot export the network.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch imports it late, and says less)
    except ModuleNotFoundError as error:
        raise UsageError(f"--onnx: {error.name} is not installed; {install_command('onnx')}") from error
    example = torch.zeros(2, *about["pretrained_cfg"]["input_size"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own code
            program = torch.onnx.export(
                network.eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"--onnx: torch cannot write {about['architecture']} as ONNX ({reason}); leave out --onnx"
        ) from error
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # stack traces, with paths of this machine
        node.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    onnx.helper.set_model_props(model, _metadata(about))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _metadata(about: Mapping[str, Any]) -> dict[str, str]:
    given = about["pretrained_cfg"]
    preprocessing = {key: given[key] for key in given if key != "num_classes"}
    return {
        "class_names": json.dumps(about["label_names"]),
        "preprocessing": json.dumps(preprocessing),
    }
