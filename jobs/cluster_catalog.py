"""Cluster an encoded catalog by KL between its items' Gaussians. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["cluster_catalog", *sys.argv[1:]])
