"""The posterior table: its versions, its files, and reading and writing them."""
