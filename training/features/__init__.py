"""Features of pretrained networks, computed once for each picture (docs/methods.md, Linear probes)."""
