"""Reads votes from our own form and from what labelling tools export, each as batches of strings."""
