"""The options that several jobs share."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from vaeudf.errors import InputError
from vaeudf.storage.outputs import PAGE_MARK, RESULTS_MARK, mark
from vaeudf.workflows.cli import option
from vaeudf.workflows.option_groups import PageOptions, VersionOptions


@dataclass(frozen=True)
class Job(VersionOptions, PageOptions):
    """Do something."""

    table: str = option("t", help="a table")
    report_items: int = option(10, help="items on the page")


@pytest.mark.parametrize("version", [None, 0, 7])
def test_a_version(version):
    Job(version=version).check_version()


def test_a_version_that_cannot_be():
    with pytest.raises(InputError, match=r"^version is -1; expected 0 or more\.$"):
        Job(version=-1).check_version()


@pytest.mark.parametrize(
    "given",
    [
        {"model": "m"},
        {"trust_model": True},
        {"py_files": ["a.py"]},
        {"catalog": "c"},
        {"report_items": 3},
    ],
)
def test_what_a_page_needs_is_refused_without_one(given):
    Job(report="page", **given).check_page("report_items")
    (name,) = given
    with pytest.raises(InputError) as caught:
        Job(**given).check_page("report_items")
    flag = name.replace("_", "-")
    assert str(caught.value) == f"{flag} goes with --report; name that, too."


def test_outputs_that_are_there_stay(tmp_path):
    out, page = tmp_path / "out", tmp_path / "page"
    for folder, own in ((out, RESULTS_MARK), (page, PAGE_MARK)):
        folder.mkdir()
        mark(str(folder), own)
    for output, report in ((str(out), None), (None, str(page)), (str(out), str(page))):
        with pytest.raises(InputError, match="exists already"):
            Job(report=report).check_outputs(output, RESULTS_MARK, [])
        Job(report=report, overwrite=True).check_outputs(output, RESULTS_MARK, [])


def test_outputs_are_apart_from_each_other_and_from_what_is_read(tmp_path):
    out = str(tmp_path / "out")
    job = Job(report=f"{out}/page")
    with pytest.raises(InputError, match="are one, or one is inside the other"):
        job.check_outputs(out, RESULTS_MARK, [])
    job.check_outputs(None, RESULTS_MARK, [])
    with pytest.raises(InputError, match="are one, or one is inside the other"):
        job.check_outputs(None, RESULTS_MARK, [out])
    assert list(tmp_path.iterdir()) == []
