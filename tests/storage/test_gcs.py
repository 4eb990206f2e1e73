"""gs:// where there are no credentials, or no way to Google; nobody there is asked."""

from __future__ import annotations

import re

import pytest

from vaeudf.errors import InputError, StoreError
from vaeudf.storage.locations import exists
from vaeudf.workflows.cli import main
from vaeudf.workflows.jobs import find_job

NOBODY = "cannot be opened: Google's library finds nothing that says who you are ("


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path) -> None:
    """A home without credentials, and a proxy at which nobody listens."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_no_credentials(capsys):
    """A job says so, and ends with exit code 2; it does not wait for half a minute."""
    with pytest.raises(SystemExit) as caught:
        main(*find_job("maintain_table"), ["--table", "gs://without-credentials/table"])
    message = capsys.readouterr().err.splitlines()[-1]
    assert caught.value.code == 2
    assert message.startswith(f"error: gs://without-credentials {NOBODY}"), message
    assert "). Expected GOOGLE_APPLICATION_CREDENTIALS to name a file" in message


def test_a_file_of_credentials_that_is_not_there(monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    expected = f"gs://wrong-file {NOBODY}Cannot open credentials file /nowhere/key.json). Expected"
    with pytest.raises(InputError, match=f"^{re.escape(expected)}"):
        exists("gs://wrong-file/x")


@pytest.mark.slow
def test_nobody_answers():
    """Who needs no credentials is told that nobody answers."""
    with pytest.raises(
        StoreError, match=r"^gs://anonymous@far has not answered for \d+ seconds \("
    ):
        exists("gs://anonymous@far/x")
