"""Features of frozen pretrained networks, computed once per image (docs/explanation/methods.md, Linear probes)."""
