"""Make the lists of a build: from a search provider, or from a folder of images."""
