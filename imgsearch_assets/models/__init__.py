"""How a model comes to serve: those that are shipped, those that others trained, candidates by name, and
the gate before one goes live. What measures them is in ``evaluation``, what makes them in ``training``.
"""
