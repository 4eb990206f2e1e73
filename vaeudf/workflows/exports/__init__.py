"""What export_table writes: a module for each kind of target."""
