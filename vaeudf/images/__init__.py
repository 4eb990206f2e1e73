"""Image bytes to pixels, and how a model wants its pixels."""
