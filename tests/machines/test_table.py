"""The command test-machines, and the table that it goes by."""

from __future__ import annotations

import pytest

from tests.machines.__main__ import main
from tests.machines.table import MACHINES, Machine
from tests.support.jobs import ROOT


def test_every_test_that_is_named_is_there():
    for machine in MACHINES.values():
        assert machine.shows, machine.name
        for test in machine.tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).exists(), test
            assert not name or f"def {name}(" in (ROOT / path).read_text(), test


@pytest.mark.slow
def test_a_machine_that_cannot_be_simulated_is_named(monkeypatch, capsys):
    moon = Machine("moon", "another planet", ("tests/no_such_test.py",), {"torch": "LUNAR"})
    monkeypatch.setattr("tests.machines.__main__.MACHINES", {"moon": moon})
    # Of all machines it is left out, and said to be; asked for by name it is an error.
    for arguments, code in (([], 0), (["moon"], 1)):
        assert main(arguments) == code
        *_, last = capsys.readouterr().err.splitlines()
        assert "CANNOT BE SIMULATED HERE: torch is '" in last and "'LUNAR' there" in last


def test_an_unknown_machine(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["pdp11"])
    assert "there is no machine 'pdp11'; there are sse, avx2" in capsys.readouterr().err
