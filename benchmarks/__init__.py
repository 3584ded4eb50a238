"""One file a claim: each prints a table, and with ``--json`` its figures as the last line."""
