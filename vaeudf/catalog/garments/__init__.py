"""Drawn apparel: a shop's product shots without a download, for demos and tests."""

from vaeudf.catalog.garments.categories import CATEGORIES
from vaeudf.catalog.garments.garment import Garment, draw_garment, sample_garment

__all__ = ["CATEGORIES", "Garment", "draw_garment", "sample_garment"]
