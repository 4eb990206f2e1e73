"""The health of a table's latent space: one pass, what is asked of the search, and the findings."""
