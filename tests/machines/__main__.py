"""Run the tests as on other machines: ``./spark-submit.sh test-machines [MACHINE…]``.

Without names, on all; a machine that this one cannot pass for is named at the end. One that was
asked for by name is an error then.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.machines.simulated import Simulated, placed, simulate
from tests.machines.table import MACHINES

# Every process has a Spark of its own: more than four take much memory.
_PYTEST = ("-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--dist", "loadfile")
_PROCESSES = ("--numprocesses", "auto", "--maxprocesses", "4")


def main(arguments: list[str] | None = None) -> int:
    names = parse(arguments)
    results: list[tuple[str, str]] = []
    for name in names or MACHINES:
        machine = MACHINES[name]
        say(f"{name}: {machine.what} …")
        began = time.monotonic()
        simulated = simulate(machine)
        missing = simulated.missing()
        if missing is None:
            passed = passes(simulated)
            result = f"{'passed' if passed else 'FAILED'}, {time.monotonic() - began:.0f} s"
        else:
            result = f"CANNOT BE SIMULATED HERE: {missing}"
        say(f"{name}: {result}")
        results.append((name, result))
    say("\n" + "\n".join(f"{name:18} {result}" for name, result in results))
    bad = ("FAILED", "CANNOT") if names else ("FAILED",)
    return int(any(result.startswith(bad) for _, result in results))


def parse(arguments: list[str] | None) -> list[str]:
    parser = argparse.ArgumentParser(
        prog="./spark-submit.sh test-machines",
        description="Run the tests as on other machines.",
        epilog="machines: " + "; ".join(f"{m.name}, {m.what}" for m in MACHINES.values()),
    )
    parser.add_argument("machines", nargs="*", metavar="MACHINE", help="without: all")
    names: list[str] = parser.parse_args(arguments).machines
    for name in names:
        if name not in MACHINES:
            parser.error(f"there is no machine '{name}'; there are {', '.join(MACHINES)}")
    return names


def passes(simulated: Simulated) -> bool:
    """Whether the tests pass there."""
    machine = simulated.machine
    # Once, and not in each of the processes below.
    if machine.compiles and simulated.run(sys.executable, "-m", "vaeudf.precompile").returncode:
        return False
    options = map(placed, machine.pytest)
    command = (sys.executable, *_PYTEST, *_PROCESSES, *options, *machine.tests)
    return simulated.run(*command).returncode == 0


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
