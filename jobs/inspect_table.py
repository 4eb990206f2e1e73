"""Tell how healthy a catalog's latent space is, as JSON and as a page. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["inspect_table", *sys.argv[1:]])
