"""Make a bundle of a model that was trained elsewhere. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["export_model", *sys.argv[1:]])
