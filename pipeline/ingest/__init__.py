"""From a row of a list to a checked, normalised, fingerprinted image, or to a rejection with a code."""
