"""Hand a posterior table over to viewers, indexes and databases. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["export_table", *sys.argv[1:]])
