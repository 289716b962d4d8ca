"""Reading of sets, order of examples, and augmentation."""
