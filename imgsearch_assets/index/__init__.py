"""Making an index: nothing, a delta or a new base of what has changed, and which products are shown as one.
Whether it may go live is said in ``gates``; going live is in ``release``.
"""
