"""Importers of published datasets: Controlled Noisy Web Labels and CIFAR-N, converted to lists and votes."""
