"""Download the URLs of retrieval lists: politely, each once, with a record of every outcome."""
