"""The jobs: a module and a function for each, and what they share."""
