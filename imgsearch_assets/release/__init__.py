"""Making a generation live: moving the pointer and going back, in the right order, watched, and compared
with what was live before by asking both the same.
"""
