"""Which version of vaeudf this is."""

VERSION = "0.1.0"
