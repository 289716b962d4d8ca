"""Fetch what the URLs of retrieval lists point to: politely, once, and with a record of every outcome."""
