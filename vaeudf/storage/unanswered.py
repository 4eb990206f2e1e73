"""That nobody answers at an address, or that there is no such address."""

from __future__ import annotations


class Unanswered(Exception):
    """No server that could answer has done so; its text says what was tried.

    Without a text, nothing has happened for as long as was to be waited.
    """
