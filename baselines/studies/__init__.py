"""What each experiment measures: one module a question, from a workload to tidy rows; `reports` shows them."""
