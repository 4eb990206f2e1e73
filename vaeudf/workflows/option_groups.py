"""Options that several jobs share: a base class for each group, with its help texts and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaeudf.errors import InputError
from vaeudf.storage.outputs import PAGE_MARK, check_output
from vaeudf.workflows.cli import check_goes_with, option


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

    catalog: str | None = option(None, help="where the pictures are (default: the table's own)")


@dataclass(frozen=True, kw_only=True)
class CodeOptions:
    """The model's own code."""

    trust_model: bool = option(False, help="run code that is not vaeudf's, if the model needs it")
    py_files: list[str] | None = option(
        None, help="module, archive or package folder with such a model's code; repeat it"
    )


@dataclass(frozen=True, kw_only=True)
class PageOptions(CatalogOptions, CodeOptions):
    """The page of pictures."""

    report: str | None = option(None, help="folder to write a page of pictures to")
    model: str | None = option(None, help="model bundle to decode with (default: the table's own)")
    overwrite: bool = option(False, help="replace --output and --report if they exist")

    def check_page(self, *names: str) -> None:
        """Refuse what only a page needs, if none is asked for.

        Args:
            names: The job's own options of its page.

        Raises:
            InputError: One is given without --report.
        """
        check_goes_with(self, "report", (*names, "model", "trust_model", "py_files", "catalog"))

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
