"""What to encode: catalogs of images, their listing, and reading them in tasks."""
