"""From worker votes to verdicts."""
