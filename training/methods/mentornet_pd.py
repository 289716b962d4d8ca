"""MentorNet-PD, the trained mentor of Jiang et al. (ICML 2018), as in the released TensorFlow graph.

A bidirectional LSTM with one unit per direction takes one step over [ℓ, ℓ − average] from a zero state. Its output is
the cell state c, not h. The last bias is added to the weight matrix, as in the released graph.
"""

import zipfile
from pathlib import Path
from typing import Self

import torch
from numpy.lib.format import read_array
from torch import Tensor

from common.errors import DataError

CELL = "mentornet__bidirectional_rnn__{}__basic_lstm_cell__{}"
SHAPES = {
    "mentornet__label_embedding": (3, 5),
    "mentornet__epoch_embedding": (100, 10),
    **{CELL.format(way, "kernel"): (3, 4) for way in ("fw", "bw")},
    **{CELL.format(way, "bias"): (4,) for way in ("fw", "bw")},
    "mentornet__Variable": (17, 20),
    "mentornet__Variable_1": (20,),
    "mentornet__Variable_2": (20, 1),
    "mentornet__Variable_3": (1,),
}
MAX_BYTES = 1 << 20  # of a variable

EARLY = 0.058  # ℓ − average below which the trained mentor trusts a label
LATE = 80  # percentage of training from which weights depend on the loss


def closed_form(distances: Tensor, percent: int) -> Tensor:
    """Return an approximation of MentorNet-PD's v [B], from 0 to 1, for distances ℓ − average [B].

    v is a step at 0.058 up to 79 % of training, and clip(1 − (ℓ − average), 0, 1) from 80 % on. On a grid of losses up to
    9 and averages up to 4, it differs from the released weights by 0.0017 on average, and 0.03 % of the decisions
    v ≥ 0.5 differ.
    """
    if percent < LATE:
        return (distances <= EARLY).to(distances.dtype)
    return (1 - distances).clamp(0, 1)


class MentorNetPD:
    """The trained mentor as a function of plain tensors."""

    def __init__(self, variables: dict[str, Tensor]) -> None:
        """`variables`: float32, by the names and shapes of SHAPES."""
        self.variables = variables

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Self:
        """Read the variables from an .npz file. Raises DataError for missing, invalid or too large arrays."""
        variables = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for name, shape in SHAPES.items():
                    if archive.getinfo(f"{name}.npy").file_size > MAX_BYTES:
                        raise ValueError(f"{name} is larger than 1 MiB")
                    with archive.open(f"{name}.npy") as file:
                        array = read_array(file, allow_pickle=False)
                    if array.shape != shape or array.dtype != "float32":
                        raise ValueError(f"{name} is {array.dtype} {array.shape}, not float32 {shape}")
                    variables[name] = torch.tensor(array, device=device)
        except Exception as error:  # of NumPy, zipfile and each compression
            raise DataError(
                f"{path}: not the weights of MentorNet-PD ({error}); give the .npz file of the released variables"
            ) from error
        return cls(variables)

    def weigh(self, losses: Tensor, distances: Tensor, percent: int) -> Tensor:
        """Return v [B], from 0 to 1, for losses [B], their distances to the average [B], and the percentage of training
        done."""
        v = self.variables
        inputs = torch.stack((losses, distances), dim=1)
        features = [  # the same label embedding for all examples
            v["mentornet__label_embedding"][0].expand(len(losses), -1),
            v["mentornet__epoch_embedding"][min(percent, 99)].expand(len(losses), -1),
            self._cell("fw", inputs),
            self._cell("bw", inputs),
        ]
        hidden = (torch.cat(features, dim=1) @ v["mentornet__Variable"] + v["mentornet__Variable_1"]).tanh()
        output = hidden @ (v["mentornet__Variable_2"] + v["mentornet__Variable_3"])
        return output.squeeze(1).sigmoid()

    def _cell(self, direction: str, inputs: Tensor) -> Tensor:
        """Return the cell state [B, 1] after one step from zero, σ(i)·tanh(j); the forget gate has no effect."""
        kernel, bias = (self.variables[CELL.format(direction, part)] for part in ("kernel", "bias"))
        i, j, _forget, _output = (inputs @ kernel[:2] + bias).split(1, dim=1)
        return i.sigmoid() * j.tanh()
