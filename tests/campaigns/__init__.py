"""Long campaigns against the project: faults on purpose, input of every kind. See CONTRIBUTING.md."""
