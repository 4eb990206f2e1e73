"""Tell how healthy a catalog's latent space is, as JSON and as a page. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.inspect_table import InspectTable, inspect_table

if __name__ == "__main__":
    main(InspectTable, inspect_table)
