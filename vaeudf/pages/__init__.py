"""Self-contained pages, their plots and their pictures."""
