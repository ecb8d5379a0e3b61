"""PostgreSQL: the tables of the stores, and reading them in bulk at one instant."""
