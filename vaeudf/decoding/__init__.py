"""Latent vectors to pictures, and reconstructions beside their originals."""
