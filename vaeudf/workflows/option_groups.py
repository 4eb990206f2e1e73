"""Options that several jobs share: a base class for each group, with its help texts and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vaeudf.errors import InputError
from vaeudf.images.spec import Exif, Interpolation
from vaeudf.images.steps import output_size, parse_steps
from vaeudf.storage.outputs import PAGE_MARK, check_output
from vaeudf.workflows.cli import check_goes_with, option, path_option

JpegDraft = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class VersionOptions:
    """The version of the table."""

    version: int | None = option(None, help="an older version of the table")

    def check_version(self) -> None:
        """Raise InputError unless it is 0 or more."""
        if self.version is not None and self.version < 0:
            raise InputError(f"version is {self.version}; expected 0 or more.")


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """The catalog."""

    catalog: str | None = path_option(
        None, help="where the pictures are (default: the table's own)"
    )


@dataclass(frozen=True, kw_only=True)
class FittingOptions:
    """How pictures are brought to the model's size."""

    resize: str = option(
        "pad",
        help="pad, crop, stretch, or the steps of torchvision that the training had, such as "
        "'Resize(256), CenterCrop(224)'",
    )
    interpolation: Interpolation | None = option(
        None, help="the filter they are resized with (default: bicubic, for steps bilinear)"
    )
    antialias: bool = option(
        True, help="filter as Pillow does; --no-antialias: as tensors are by default interpolated"
    )
    exif: Exif = option("apply", help="whether photos are turned upright, or taken as stored")
    # YAML reads on and off as true and false.
    jpeg_draft: JpegDraft | bool = option(
        "auto",
        help="on: decode JPEGs at a half to an eighth of their size, but at least twice the "
        "model's; off: in full; auto: train_vae does so, export_model if the sample's posteriors "
        "hardly change",
    )

    @property
    def fitting(self) -> dict[str, Any]:
        """The arguments of an ImageSpec."""
        names = ("resize", "interpolation", "antialias", "exif")
        return {
            **{name: getattr(self, name) for name in names},
            "jpeg_draft": self.asked_draft == "on",
        }

    @property
    def asked_draft(self) -> JpegDraft:
        """What is said of JPEGs."""
        if isinstance(self.jpeg_draft, bool):
            return "on" if self.jpeg_draft else "off"
        return self.jpeg_draft

    @property
    def size_of_steps(self) -> tuple[int, int]:
        """Height and width that steps end with; zeros where they do not say."""
        width, height = output_size(parse_steps(self.resize) or ()) or (0, 0)
        return height, width


@dataclass(frozen=True, kw_only=True)
class CodeOptions:
    """The model's own code."""

    trust_model: bool = option(False, help="run code that is not vaeudf's, if the model needs it")
    py_files: list[str] | None = path_option(
        None,
        help="module, archive or package folder with such a model's code; repeat it",
        local=True,
    )


@dataclass(frozen=True, kw_only=True)
class PicturePageOptions(CatalogOptions):
    """The page of pictures."""

    report: str | None = path_option(None, help="folder to write a page of pictures to")
    overwrite: bool = option(False, help="replace --output and --report if they exist")

    def check_picture_page(self, *names: str) -> None:
        """Refuse what only a page needs, if none is asked for.

        Args:
            names: The job's own options of its page.

        Raises:
            InputError: One is given without --report.
        """
        check_goes_with(self, "report", (*names, "catalog"))

    def check_outputs(self, output: str | None, mark: str, inputs: Sequence[str]) -> None:
        """Check where the results and the page go, before any work.

        Args:
            output: Folder of the results, if they are written.
            mark: The file that tells that such a folder is the job's.
            inputs: What the job reads.

        Raises:
            InputError: A folder is there and may not be replaced, or is among what is read.
        """
        if output:
            check_output(output, self.overwrite, mark, inputs)
        if self.report:
            others = [output] if output else []
            check_output(self.report, self.overwrite, PAGE_MARK, [*inputs, *others])


@dataclass(frozen=True, kw_only=True)
class PageOptions(PicturePageOptions, CodeOptions):
    """The page's model."""

    model: str | None = path_option(None, help="the model bundle (default: the table's own)")

    def check_page(self, *names: str, encodes: bool = False, reads: bool = False) -> None:
        """Refuse what only a page needs, if none is asked for.

        Args:
            names: The job's own options of its page.
            encodes: Whether the job needs the model without a page, too.
            reads: Whether it needs the model and the catalog's pictures.

        Raises:
            InputError: One is given without --report.
        """
        of_model = () if encodes or reads else ("model", "trust_model", "py_files")
        of_catalog = () if reads else ("catalog",)
        check_goes_with(self, "report", (*names, *of_model, *of_catalog))
