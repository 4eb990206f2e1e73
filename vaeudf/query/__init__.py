"""Bulk queries: the exact search over a table or a DataFrame, on Spark."""
