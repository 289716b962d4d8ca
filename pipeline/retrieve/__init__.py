"""From class names to a retrieval list: what search providers return, with rank and licence."""
