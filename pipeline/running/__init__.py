"""How a job is started, watched and judged: runners and their options, progress, metrics, cache keys, the lock."""
