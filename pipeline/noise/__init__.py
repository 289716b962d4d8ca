"""Controlled noise: which clean image is replaced or flipped at which level, and by what."""
