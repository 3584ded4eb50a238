"""The assets themselves, a module for each step of the way: thin Dagster functions that fetch their
inputs, call the plain functions of the other rooms, and say in typed metadata what came of it.
"""
