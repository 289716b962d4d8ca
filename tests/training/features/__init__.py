"""Tests of training/features."""
