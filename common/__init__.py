"""What all rooms share: configuration, the frame of the command line, errors, JSON records, temporary folders."""
