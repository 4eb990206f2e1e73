"""Draw a catalog of garments. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["draw_catalog", *sys.argv[1:]])
