"""Compiled functions where there is nowhere to keep them."""

from __future__ import annotations

import subprocess
import sys

from tests.support.jobs import ROOT

_WITHOUT_FOLDER = """
import numba.core.caching
# As for a user who can write neither to the package nor to a home folder.
numba.core.caching.CacheImpl._locator_classes = []

from vaeudf.clustering import kernels
from vaeudf.decoding.pixel_kernels import squared_errors
from vaeudf.search.kernels import most_promising

for function in (kernels.nearest, squared_errors, most_promising):
    assert function.stats.cache_path is None
"""


def test_without_a_folder_to_keep_them_in():
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_FOLDER], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
