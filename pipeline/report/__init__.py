"""The report of a build: one HTML page that shows what came of what went in."""
