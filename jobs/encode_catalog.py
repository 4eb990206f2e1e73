"""Encode a whole catalog of images and publish its posterior table. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

if __name__ == "__main__":
    main(EncodeCatalog, encode_catalog)
