"""Read votes from the project's own format and from exports of labeling tools, as batches of strings."""
