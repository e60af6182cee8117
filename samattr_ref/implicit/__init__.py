"""Implicit differentiation of the fixed point that a SAM run ends at."""
