"""Features of pretrained networks, computed once for each picture (docs/explanation/methods.md, Linear probes)."""
