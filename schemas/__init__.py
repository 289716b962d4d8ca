"""What the tables are: one module per table. Everyone reads this room; it imports nothing of ours."""
