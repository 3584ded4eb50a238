"""Fetching pictures: which to ask for (a plan), how politely, what is taken of an answer, and where
pictures and the outcome of each fetch are kept.
"""
