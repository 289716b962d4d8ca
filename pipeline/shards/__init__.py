"""Tables as deterministic Parquet shards with a manifest; the card, Croissant file and export of a dataset."""
