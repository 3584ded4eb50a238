"""What all assets have in common: what each says of itself (owner, columns and where they come from, class
of machine, price), and how a step fails, is timed and shows its table. The assets themselves are in
``assets``.
"""
