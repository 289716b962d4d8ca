"""Local web page on which several workers answer questions; each answer is appended to a vote file at once."""
