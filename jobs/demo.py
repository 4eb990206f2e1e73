"""Run the whole path on a drawn catalog. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
