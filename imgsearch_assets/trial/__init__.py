"""Who is heard while a release is on trial: every replica of the search service, and the public API, which
is asked for golden products. What follows from what they say is decided in ``release.rollout``.
"""
