"""Measurements of vaeudf beside its peers, one command each; see docs/benchmarks.md."""
