"""A state in a SQL database: SQLite for one host, PostgreSQL for many."""
