"""Report of a build: one HTML page that shows how inputs became sets."""
