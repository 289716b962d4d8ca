"""The verb `leaks`: near-duplicates of one collection of images in another (docs/how-to/leaks.md)."""
