"""List a posterior table's versions, go back to one, or remove old files. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.maintain_table import MaintainTable, maintain_table

if __name__ == "__main__":
    main(MaintainTable, maintain_table)
