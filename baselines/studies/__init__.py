"""What each experiment measures: one module a question, from a workload to tidy rows; `reports` shows them.

Rows name a `method`; where a method is used in several ways, `how` says in which, in the words of its label: empty is
the method's own.
"""
