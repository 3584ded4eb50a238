"""What became of every product, noted once: what the catalogue and each release changed, and how long a
change takes to reach shoppers. ``serving.ledger`` reads it, and says why a product is searchable or is not.
"""
