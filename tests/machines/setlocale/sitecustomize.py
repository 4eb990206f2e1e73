"""With this folder in its path a Python chooses the user's locale, as C programs do."""

import locale

locale.setlocale(locale.LC_ALL, "")
