"""Shards to a resident tensor, the order of an epoch, augmentation."""
