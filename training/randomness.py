"""Stateless random numbers: every draw is a function of (seed, epoch, purpose), so a resumed run is bit-identical."""

import hashlib

import torch
from torch.distributions import Gamma


def derive_seed(seed: int, epoch: int, purpose: str) -> int:
    """Return a 63-bit seed that is independent for each (seed, epoch, purpose)."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str, device: torch.device | None = None) -> torch.Generator:
    """Return a new generator for one purpose in one epoch on `device` (default: CPU)."""
    return torch.Generator(device or torch.device("cpu")).manual_seed(derive_seed(seed, epoch, purpose))


def draw_beta(alpha: float, shape: tuple[int, ...], source: torch.Generator) -> torch.Tensor:
    """Draw Beta(alpha, alpha) numbers of `shape`, float32, on the generator's device."""
    # in float32 both gamma draws underflow for small alpha, which gives 0/0
    concentration = torch.full((2, *shape), alpha, dtype=torch.float64, device=source.device)
    first, second = _draw_gamma(concentration, source).clamp_min(1e-300)
    return (first / (first + second)).float()


def _draw_gamma(concentration: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """Draw gamma numbers with rate 1 and advance `source`; torch.distributions takes no generator."""
    gpus = [source.device] if source.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        if gpus:
            torch.cuda.set_rng_state(source.get_state(), source.device)
        else:
            torch.set_rng_state(source.get_state())
        numbers: torch.Tensor = Gamma(
            concentration, torch.ones_like(concentration), validate_args=False
        ).sample()
        source.set_state(torch.cuda.get_rng_state(source.device) if gpus else torch.get_rng_state())
    return numbers


def seed_layers(seed: int, device: torch.device) -> None:
    """Seed the generators from which layers such as dropout draw on `device`, as torch.manual_seed does.

    torch.manual_seed seeds all kinds of devices, which takes 0.3 to 0.4 ms instead of microseconds, in each step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
