"""An installation on one machine: its folder and ports, and the processes that make it up, started in order
and stopped together.
"""
