"""A table, live: searches, pictures and maps of one version, answered at once and without Spark."""
