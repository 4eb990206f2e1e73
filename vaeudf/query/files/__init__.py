"""Queries in files, as people and their tools write them."""

from vaeudf.query.files.read import read_latents

__all__ = ["read_latents"]
