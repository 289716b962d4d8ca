"""Tests of training/study."""
