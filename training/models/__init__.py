"""Networks, and loading of weights."""
