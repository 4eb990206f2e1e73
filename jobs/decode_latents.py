"""Decode z vectors to pictures: files, traversals, walks, reconstructions. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["decode_latents", *sys.argv[1:]])
