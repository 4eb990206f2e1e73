"""List a posterior table's versions, go back to one, or remove old files. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["maintain_table", *sys.argv[1:]])
