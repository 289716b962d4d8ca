"""What others have published, read as it was released, and written as our lists and votes."""
