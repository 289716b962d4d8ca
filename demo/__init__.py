"""Synthetic data for `make demo`: drawn images, a web server for them, and simulated workers."""
