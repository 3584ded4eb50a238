"""The data platform: a Dagster code location that turns a catalogue table into a verified, released search
index. Begin with ``definitions`` (every asset, when it runs, and with what) or ``cli`` (what a person
types). What only one step of the way needs is in the package of that step; modules at the top are what all
of them lean on, or what Dagster is told to load. Arrows run one way: pyproject.toml has the order of the
rooms, and a test holds it.
"""
