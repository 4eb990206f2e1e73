"""Make a bundle of a model that was trained elsewhere. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.export_model import ExportModel, export_model

if __name__ == "__main__":
    main(ExportModel, export_model)
