"""Runs every job once, with all its paths below a folder; Spark is what the environment says."""

from __future__ import annotations

import logging
import sys

from tests.support.every_job import Jobs, ask_and_look, left_out, make_models, put_inputs, try_demo

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(message)s")
    root = sys.argv[1]
    jobs = Jobs()
    put_inputs(root)
    make_models(jobs, root)
    ask_and_look(jobs, root)
    try_demo(jobs, root)
    sys.stdout.write(f"{left_out(jobs)}\n")
