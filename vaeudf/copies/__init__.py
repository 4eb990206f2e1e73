"""All pairs of items that are nearly one, and the groups that they connect."""
