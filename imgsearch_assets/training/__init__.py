"""Trainers of the detector and of the embedder, which a kill does not set back: what is learned from, the
losses, checkpoints, curves, and what a researcher may set. ``trainer`` is what the command line and the
assets call.
"""
