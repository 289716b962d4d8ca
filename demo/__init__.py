"""The small world behind `make demo`: pictures, a web that serves them, workers who judge them."""
