"""Queries in files, as people and their tools write them."""

from vaeudf.query.files.read import read_latents, read_queries

__all__ = ["read_latents", "read_queries"]
