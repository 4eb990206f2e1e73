"""The machines that this one can pass for, and which tests run on each.

Environment variables make the libraries compute as they would on another processor: they choose the
instructions of torch (its own loops, MKL and oneDNN), of what Numba compiles, of OpenBLAS and of
NumPy. What surrounds a program, such as its locale, is set up as it would be elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NETWORKS = ("tests/model", "tests/encoding", "tests/decoding", "tests/training")
"""What torch computes."""

SEARCH = (
    "tests/gaussian",
    "tests/numerics",
    "tests/search",
    "tests/query",
    "tests/clustering",
    "tests/health",
)
"""What NumPy computes, and what Numba has compiled."""

_NO_SPARK = ("-m", "not spark and not slow and not network")
"""What computes does so without Spark, too, and in a tenth of the time."""

JOBS = (
    "tests/catalog",
    "tests/storage",
    "tests/pages/test_query_page.py",
    "tests/workflows/test_draw_catalog.py",
    "tests/workflows/test_nights.py",
    "tests/workflows/test_query_topk.py",
    "tests/workflows/test_jobs.py::test_a_job",
)
"""What meets files, times and texts: catalogs, nights, queries, a page, and a whole job."""


@dataclass(frozen=True)
class Machine:
    """A machine to pass for.

    Attributes:
        name: What the command calls it.
        what: What is other about it, for people.
        tests: Folders, files or tests, as pytest takes them.
        shows: What `tests.machines.probe` must see there; if it does not, this machine cannot pass
            for that one.
        variables: Environment variables; ``{work}`` stands for a folder of the runner's.
        java: Options of the JVM.
        pytest: Options of pytest.
        compiles: Whether Numba has to compile anew for it.
        umask: The umask, if it is another one.
        copied: Whether the tests run in a copy of the checkout, under a difficult path.
        locked_home: Whether the home folder must not be written to.
    """

    name: str
    what: str
    tests: tuple[str, ...]
    shows: Mapping[str, Any]
    variables: Mapping[str, str] = field(default_factory=dict)
    java: tuple[str, ...] = ()
    pytest: tuple[str, ...] = ()
    compiles: bool = False
    umask: int = -1
    copied: bool = False
    locked_home: bool = False


def _torch(name: str, what: str, mkl: str, aten: str, onednn: str, isa: str) -> Machine:
    """Another processor for torch. What MKL makes of it shows nowhere."""
    variables = {
        "MKL_ENABLE_INSTRUCTIONS": mkl,
        "ATEN_CPU_CAPABILITY": aten,
        "ONEDNN_MAX_CPU_ISA": onednn,
    }
    return Machine(name, what, NETWORKS, {"torch": aten.upper(), "onednn": isa}, variables)


def _threads(count: int) -> Machine:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return Machine(
        f"threads-{count}",
        f"{count} thread{'s' * (count > 1)} in every library",
        (*NETWORKS, *SEARCH),
        {"threads": count},
        # MKL takes no more threads than there are cores, unless it is told to.
        {**dict.fromkeys(names, str(count)), "MKL_DYNAMIC": "FALSE"},
        pytest=_NO_SPARK,
    )


def _together(name: str, what: str, *machines: Machine) -> Machine:
    """One machine with all that is other about several."""
    return Machine(
        name,
        what,
        tuple(dict.fromkeys(test for machine in machines for test in machine.tests)),
        {key: value for machine in machines for key, value in machine.shows.items()},
        {key: value for machine in machines for key, value in machine.variables.items()},
        tuple(option for machine in machines for option in machine.java),
        tuple(option for machine in machines for option in machine.pytest),
        any(machine.compiles for machine in machines),
        max(machine.umask for machine in machines),
        any(machine.copied for machine in machines),
        any(machine.locked_home for machine in machines),
    )


# What NumPy has loops for beyond the least that it needs, on this kind of processor.
_NUMPY_TARGETS = np._core._multiarray_umath.__cpu_dispatch__  # type: ignore[attr-defined]

SSE = _torch("sse", "torch without AVX", "SSE4_2", "default", "SSE41", "Intel SSE4.1")
AVX2 = _torch("avx2", "torch with AVX2", "AVX2", "avx2", "AVX2", "Intel AVX2")
AVX512 = _torch("avx512", "torch with AVX-512", "AVX512", "avx512", "AVX512_CORE", "Intel AVX-512")
GENERIC = Machine(
    "numba-generic",
    "Numba compiles for any processor of this family",
    ("tests/search", "tests/query", "tests/clustering", "tests/health"),
    {"numba": "generic"},
    # Beside the others' compiled code, as they could otherwise take it for theirs.
    {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": "{work}/numba-generic"},
    pytest=_NO_SPARK,
    compiles=True,
)
PRESCOTT = Machine(
    "openblas-prescott",
    "NumPy's matrix products with SSE3",
    SEARCH,
    {"openblas": "Katmai"},  # Prescott's name among processors of 64 bits
    {"OPENBLAS_CORETYPE": "Prescott"},
    pytest=_NO_SPARK,
)
NUMPY = Machine(
    "numpy-baseline",
    "NumPy without the instructions that it need not have",
    SEARCH,
    {"numpy": []},
    {"NPY_DISABLE_CPU_FEATURES": " ".join(_NUMPY_TARGETS)},
    pytest=_NO_SPARK,
)
LOCALE = Machine(
    "locale",
    "a locale with decimal commas, LC_ALL=de_DE.UTF-8, that every process has chosen",
    JOBS,
    {"decimal_point": ","},
    {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "LOCPATH": "{work}/locales"},
)
TIME_ZONE = Machine(
    "time-zone",
    "a time zone of 5¾ hours, Asia/Kathmandu",
    JOBS,
    {"utc_offset": 20700},
    {"TZ": "Asia/Kathmandu"},
    java=("-Duser.timezone=Asia/Kathmandu",),
)
HOME = Machine(
    "home",
    "a home folder that cannot be written to",
    JOBS,
    {"home_is_writable": False},
    {"HOME": "{work}/home"},
    java=("-Duser.home={work}/home",),
    locked_home=True,
)
PATH = Machine(
    "path",
    "a checkout and temporary files in a folder with blanks and umlauts",
    JOBS,
    {"checkout": "{work}/Größe 1/vaeudf"},
    pytest=("--basetemp={work}/Größe 1/tests",),
    copied=True,
)
UMASK = Machine("umask", "a umask of 077", JOBS, {"umask": 0o077}, umask=0o077)

MACHINES = {
    machine.name: machine
    for machine in (
        *(SSE, AVX2, AVX512, GENERIC, PRESCOTT, NUMPY, _threads(1), _threads(4)),
        *(LOCALE, TIME_ZONE, HOME, PATH, UMASK),
        _together(
            "oldest",
            "sse, numba-generic, openblas-prescott and numpy-baseline at once",
            *(SSE, GENERIC, PRESCOTT, NUMPY),
        ),
        _together(
            "elsewhere",
            "locale, time-zone, home, path and umask at once",
            *(LOCALE, TIME_ZONE, HOME, PATH, UMASK),
        ),
    )
}
