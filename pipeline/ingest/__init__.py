"""From a row of a list to a checked, normalized, fingerprinted image, or to a rejection with a code."""
