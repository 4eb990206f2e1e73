"""Draw a catalog of garments. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.draw_catalog import DrawCatalog, draw_catalog

if __name__ == "__main__":
    main(DrawCatalog, draw_catalog)
