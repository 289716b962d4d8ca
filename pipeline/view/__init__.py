"""A browser for the pictures of a build, on this machine alone."""
