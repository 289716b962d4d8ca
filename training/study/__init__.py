"""Studies: grids of runs, their tables, statistics and figures."""
