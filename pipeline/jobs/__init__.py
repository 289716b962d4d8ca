"""One Beam job per file. The only room, beside a few small transforms, that knows Beam."""
