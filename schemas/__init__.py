"""What the tables are: one module per table. All packages may import it; it imports only `common`."""
