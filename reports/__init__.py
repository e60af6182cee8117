"""From validated results to tables, figures and the page. Nothing here trains; `samattr` is the command line."""
