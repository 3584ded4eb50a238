"""Telling operators: what an alert says, when it is due, and the log and webhooks that get it. What there
is to tell is found in ``watch``.
"""
