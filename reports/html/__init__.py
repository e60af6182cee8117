"""The report as one page that a browser opens: tables to sort, galleries to choose from, charts to explore."""
