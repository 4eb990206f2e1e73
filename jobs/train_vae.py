"""Train a VAE on a catalog of images and write a model bundle. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["train_vae", *sys.argv[1:]])
