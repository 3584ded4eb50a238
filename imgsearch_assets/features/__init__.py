"""Boxes of every picture and vectors of every box: the tables they are kept in, what filling these is going
to take, and the rows that the feature store has of a generation.
"""
