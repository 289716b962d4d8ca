"""The grid of runs, its table and its plots."""
