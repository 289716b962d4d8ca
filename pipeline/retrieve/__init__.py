"""From class names, or from a folder of pictures that one has, to a list: what a build begins with."""
