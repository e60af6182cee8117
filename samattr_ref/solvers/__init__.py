"""Solvers of A X = B for many right-hand sides at once, with a status that says whether they succeeded."""
