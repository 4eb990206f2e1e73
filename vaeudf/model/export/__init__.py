"""A model made elsewhere, to a bundle."""
