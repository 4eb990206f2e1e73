"""Run the whole path on a drawn catalog. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.demo import Demo, demo

if __name__ == "__main__":
    main(Demo, demo)
