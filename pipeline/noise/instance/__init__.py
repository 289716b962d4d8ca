"""Instance-dependent blue noise: wrong labels that depend on what the image looks like, from features of a frozen network."""
