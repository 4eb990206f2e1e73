"""Sums, sketches, boxes and orders of numbers: NumPy alone."""
