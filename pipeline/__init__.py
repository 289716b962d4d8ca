"""Beam: from web images and worker votes to shards. Never imports training, never needs torch."""
