"""Sums, sketches, boxes and orders of numbers: NumPy, and Arrow for texts."""
