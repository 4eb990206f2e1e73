"""Find all copies in an encoded catalog: items whose posteriors are nearly one. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["find_copies", *sys.argv[1:]])
