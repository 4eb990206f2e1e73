"""Serve a page of sliders: what z decodes to, and the items most like it. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["explore", *sys.argv[1:]])
