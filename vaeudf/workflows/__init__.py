"""The jobs' work: one module and one function for each file in ``jobs/``."""
