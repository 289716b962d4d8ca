"""Randomness without state: every draw is a function of (seed, epoch, purpose), so a run resumes to the bit."""

import hashlib

import torch


def derive_seed(seed: int, epoch: int, purpose: str) -> int:
    """Return a 63-bit number that is independent for each (seed, epoch, purpose)."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str, device: torch.device | None = None) -> torch.Generator:
    """Return a fresh generator for one purpose in one epoch, on `device` (default CPU)."""
    return torch.Generator(device or torch.device("cpu")).manual_seed(derive_seed(seed, epoch, purpose))


def draw_beta(alpha: float, shape: tuple[int, ...], source: torch.Generator) -> torch.Tensor:
    """Draw Beta(alpha, alpha) numbers of `shape`, float32, on the generator's device."""
    # float64: for small alpha both gamma draws underflow in float32, and 0/0 would follow
    concentration = torch.full((2, *shape), alpha, dtype=torch.float64, device=source.device)
    one, other = torch._standard_gamma(concentration, generator=source).clamp_min(1e-300)
    return (one / (one + other)).float()
