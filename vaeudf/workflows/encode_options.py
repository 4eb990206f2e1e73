"""The options of encode_catalog."""

from __future__ import annotations

from dataclasses import dataclass

from vaeudf.catalog.source import CatalogSource, Format
from vaeudf.errors import InputError
from vaeudf.model.devices import Device, Hardware, Precision
from vaeudf.workflows.cli import option, path_option
from vaeudf.workflows.option_groups import CodeOptions


@dataclass(frozen=True)
class EncodeCatalog(CodeOptions):
    """Run a model's encoder over a catalog's new and changed images, and publish the table."""

    catalog: str = path_option(help="images: a folder or glob, Parquet, or CSV with their paths")
    model: str = path_option(help="folder of the model bundle")
    table: str = path_option(help="folder of the posterior table, made if it does not exist")
    format: Format = option("auto", help="what the catalog is")
    id_column: str = option("item_id", help="Parquet, CSV: the column with the unique ids")
    image_column: str = option("image", help="Parquet: the column with the images' bytes")
    path_column: str | None = option(
        None,
        help="CSV or Parquet: the column with the paths or URIs of image files; or images/{id}.jpg",
    )
    version_column: str | None = option(
        None, help="Parquet: a column that changes when the image does (default: hash the image)"
    )
    payload_columns: list[str] | None = option(
        None, help="Parquet: a column to carry into the table; repeat it (default: all others)"
    )
    max_error_fraction: float = option(
        0.01, help="publish nothing if more than this fraction of the items fail"
    )

    device: Device = option(
        "auto", help="auto: the GPU that Spark gives the task, else one that is there, else the CPU"
    )
    precision: Precision = option(
        "float32", help="bfloat16: faster on GPUs; mu and log_var are off in the third digit"
    )
    full: bool = option(False, help="encode everything again, also what has not changed")
    retry_quarantined: bool = option(
        False, help="try items in quarantine again, also those whose image has not changed"
    )
    gate: str | None = path_option(
        None,
        help="a file with conditions on the new version's health, one a line, such as "
        "'quarantine.items > 100': if one holds, end with exit code 5 and publish nothing",
    )
    keep_pixels: bool = option(
        False, help="keep what the encoder gets beside the table: height x width x channels bytes"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.max_error_fraction <= 1:
            raise InputError(f"max-error-fraction is {self.max_error_fraction}; expected 0 to 1.")

    @property
    def hardware(self) -> Hardware:
        """What to encode on."""
        return Hardware(self.device, self.precision)

    @property
    def source(self) -> CatalogSource:
        """Where the catalog is and how to read it."""
        return CatalogSource(
            path=self.catalog,
            format=self.format,
            id_column=self.id_column,
            image_column=self.image_column,
            path_column=self.path_column,
            version_column=self.version_column,
            payload_columns=self.payload_columns,
        )
