"""Train the reference VAE."""
