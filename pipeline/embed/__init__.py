"""Features of images by a frozen network; only `network.py` imports torch (docs/how-to/embed.md)."""
