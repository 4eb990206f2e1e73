"""Query results as a notebook shows them: a table with pictures, without a page around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaeudf.pages.page import render
from vaeudf.pages.query_page import Result


@dataclass(frozen=True)
class NotebookView:
    """Queries and their hits, which a notebook shows as a table with pictures.

    Jupyter and what is made like it call ``_repr_html_`` of the value that a cell ends with;
    elsewhere, hand ``html`` to what shows HTML, such as ``displayHTML`` of Databricks.

    Attributes:
        results: What to show; hits best first.
        meaning: What the number below each picture is.
        omitted: Whether there are further queries.
    """

    results: Sequence[Result]
    meaning: str
    omitted: bool = False

    @property
    def html(self) -> str:
        """The table: HTML with its own styles and pictures, which asks nothing of a network."""
        return render("notebook", results=self.results, meaning=self.meaning, omitted=self.omitted)

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        """Return what consoles show, which have no pictures."""
        count = sum(len(result.hits) for result in self.results)
        return f"<{len(self.results)} queries with {count} hits; a notebook shows their pictures>"
