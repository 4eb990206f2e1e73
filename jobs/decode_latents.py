"""Decode z vectors to pictures: files, traversals, walks, reconstructions. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents

if __name__ == "__main__":
    main(DecodeLatents, decode_latents)
