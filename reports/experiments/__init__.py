"""The experiments: one module a table or figure of the paper, or of a question that the paper leaves open."""
