"""Robust-learning methods: a few dozen lines of loss and weights each."""
