"""The same work by other libraries: their numbers must equal ours before any time is taken."""
