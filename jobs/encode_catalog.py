"""Encode a whole catalog of images and publish its posterior table. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["encode_catalog", *sys.argv[1:]])
