"""Encode a catalog: which items, in which tasks, and what is kept of a run."""
