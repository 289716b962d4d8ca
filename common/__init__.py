"""What all packages share: configuration, the frame of the command line, errors, JSON records, temporary folders."""
