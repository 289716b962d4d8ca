"""One Beam job per file. Only these and what starts them (tests/test_imports.py) import Beam."""
