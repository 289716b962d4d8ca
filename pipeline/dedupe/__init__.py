"""HashPairs-duplicates: who looks alike, who stays, what leaked."""
