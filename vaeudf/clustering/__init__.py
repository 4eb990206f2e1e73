"""k-means of diagonal Gaussians by a divergence."""
