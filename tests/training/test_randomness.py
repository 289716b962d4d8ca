"""Random numbers of layers."""

import torch

from training.randomness import seed_layers


def test_layers_draw_as_after_a_manual_seed() -> None:
    def drawn() -> torch.Tensor:
        return torch.nn.functional.dropout(torch.ones(100), 0.5)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2**62 + 3)
        expected = drawn()
        drawn()
        seed_layers(2**62 + 3, torch.device("cpu"))
        assert torch.equal(drawn(), expected)
