"""Near-duplicate search, the choice of keepers, and leaks between training and test images."""
