"""The kinds of z that an inspection asks with, and how many items it asks for."""

from __future__ import annotations

K = 10
"""How many items each z asks for."""

PRIOR = "prior"
POSTERIORS = "posteriors"


def slider_kind(bound: float) -> str:
    """Return the name of the z that are uniform in [-bound, bound]."""
    return f"sliders ±{bound:g}"
