"""What `import vaeudf` brings in, and what its names are."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import vaeudf
from tests.support.jobs import ROOT


def in_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_is_light():
    code = """
import sys
import vaeudf
assert "numba" not in sys.modules
heavy = ["torch", "pyspark", "pandas", "pyarrow", "PIL", "deltalake", "jsonargparse", "jinja2"]
assert not [name for name in heavy if name in sys.modules]
indices, scores = vaeudf.nearest([[0.0, 3.0]], [[0, 0], [0, 3]], [[0, 0], [0, 0]], k=1)
print(indices.tolist(), vaeudf.gaussian.log_prob([0.0], [[0.0]], [[0.0]]).round(3).tolist())
assert issubclass(vaeudf.errors.InputError, ValueError)
assert not [name for name in heavy if name in sys.modules]
"""
    assert in_new_process(code) == "[[1]] [[-0.919]]\n"


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        (
            "pyspark",
            "catalog clustering copies decoding encoding health query spark training workflows",
        ),
        ("torch", "decoding encoding explore model spark training workflows"),
    ],
)
def test_every_package_may_import_it_or_not(package, allowed):
    """import-linter has no list of all packages for that: one that is new would be in neither."""
    contracts = (ROOT / "pyproject.toml").read_text().split("[[tool.importlinter.contracts]]")
    (contract,) = (one for one in contracts if f'forbidden_modules = ["{package}"]' in one)
    forbidden = set(re.findall(r'"vaeudf\.(\w+)"', contract))
    packages = {one.name for one in pkgutil.iter_modules(vaeudf.__path__) if one.ispkg}
    assert forbidden | set(allowed.split()) == packages
    assert not forbidden & set(allowed.split())


@pytest.mark.parametrize("job", ["query_topk", "cluster_catalog", "inspect_table"])
def test_what_decodes_nothing_needs_no_torch(job):
    code = f"""
import sys
import vaeudf.workflows.{job}
assert "numpy" in sys.modules and "torch" not in sys.modules
"""
    in_new_process(code)


def test_no_module_takes_the_place_of_a_function():
    """Importing vaeudf.encode, were there such a module, would replace the function."""
    modules = {module.name for module in pkgutil.iter_modules(vaeudf.__path__)}
    assert set(vaeudf.__all__) & modules == {"errors", "gaussian"}


def test_lazy_names_are_what_they_say():
    import vaeudf.encoding.udf
    import vaeudf.model.bundle
    import vaeudf.query.bulk

    for name in (
        "encode",
        "decode",
        "nearest",
        "top_k",
        "all_above",
        "shares",
        "load_bundle",
        "rerank",
    ):
        assert isinstance(getattr(vaeudf, name), types.FunctionType)
        assert getattr(vaeudf, name).__name__ == name
    assert vaeudf.Bundle is vaeudf.model.bundle.Bundle


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match=r"^module 'vaeudf' has no attribute 'transmogrify'$"):
        vaeudf.transmogrify  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'transmogrify' from 'vaeudf'"):
        from vaeudf import transmogrify  # noqa: F401
    assert not hasattr(vaeudf, "__path_of_nothing__")


def test_names_can_be_replaced_in_a_test(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(vaeudf, "encode", len)
        patched.setattr(vaeudf, "nearest", len)
        assert vaeudf.encode is vaeudf.nearest is len
    assert vaeudf.encode.__name__ == "encode" and vaeudf.nearest.__name__ == "nearest"


def test_dir_lists_what_is_promised():
    assert dir(vaeudf) == sorted(
        [
            "BernoulliPixels",
            "Bundle",
            "ForeignModel",
            "GaussianPixels",
            "ImageSpec",
            "OnnxFiles",
            "PosteriorIndex",
            "all_above",
            "cluster",
            "decode",
            "encode",
            "errors",
            "export_bundle",
            "gaussian",
            "load_bundle",
            "nearest",
            "rerank",
            "shares",
            "show",
            "top_k",
        ]
    )
    assert all(hasattr(vaeudf, name) for name in vaeudf.__all__)
    assert vaeudf.__version__.count(".") == 2


def test_only_one_module_knows_a_sessions_context():
    """A session over Spark Connect has none."""
    root = Path(vaeudf.__file__).parent
    found = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "sparkContext" in path.read_text()
    ]
    assert found == ["spark/classic.py"]


def test_only_the_spark_package_knows_the_session_inside():
    """A session over Spark Connect has no JVM either."""
    root = Path(vaeudf.__file__).parent
    inside = re.compile(
        r"sparkContext|\._jvm|\._jsc|defaultParallelism|\bBroadcast\b|\bAccumulator\b"
    )
    found = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if path.parent != root / "spark" and inside.search(path.read_text())
    ]
    assert found == []


def test_the_engine_is_compiled_without_pyspark():
    # The environment that is packed for a cluster has none: the cluster has its own.
    code = "import sys; sys.modules['pyspark'] = None; import vaeudf.precompile"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_client_of_spark_connect_alone_can_import_all_of_it():
    """The package pyspark-client has no core, and no gateway to a JVM."""
    code = """
import sys
sys.modules["pyspark.core"] = sys.modules["py4j"] = None
import vaeudf
from vaeudf.workflows.jobs import NAMES, find_job
for name in vaeudf.__all__:
    getattr(vaeudf, name)
for name in NAMES:
    find_job(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_spark_connect_is_not_imported_without_it():
    code = """
import sys
import vaeudf.workflows.query_topk, vaeudf.spark.session
assert not [name for name in sys.modules if name.startswith(("pyspark.sql.connect", "grpc"))]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
