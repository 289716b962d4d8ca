"""Publication of a dataset: its card, metadata, citation and methods, in a folder that a hub takes."""
