"""The page of sliders, and the service behind it: a table in memory, asked over HTTP."""
