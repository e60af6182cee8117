"""`python -m reports.cli`: the same as `samattr`."""

from reports.cli.program import main

main()
