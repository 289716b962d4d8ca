"""Functions that return a configuration, with what to expect from it."""
