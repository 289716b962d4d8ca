"""Coverage-guided fuzzing of the code that reads files and replies of strangers (CONTRIBUTING.md, "Fuzzing")."""
