"""Deterministic Parquet shards, their manifest, their card, and the verifier."""
