"""Tests of training/methods."""
