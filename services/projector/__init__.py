"""PROCESS: follows the log into DuckDB tables and answers questions about them."""
