"""What is Spark's own: the session, progress, counters, shared values, passes over a table."""
