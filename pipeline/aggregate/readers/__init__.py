"""Reads votes from our own form and from what labeling tools export, each as batches of strings."""
