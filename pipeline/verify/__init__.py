"""Verification of a finished dataset from its files alone (docs/explanation/security.md)."""
