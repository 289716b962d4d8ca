"""The audit: which verdicts, clean labels and test labels are probably wrong, by features of a frozen network."""
