"""Robust-learning methods, one module per method."""
