"""Headway: transfer learning that chooses, adapts, proves and ships."""

__version__ = "0.1.0"
