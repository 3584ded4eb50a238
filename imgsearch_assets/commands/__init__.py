"""What a person types: a module for each sub-command of ``imgsearch``, which ``cli`` puts together, and how
all of them end. They read options and print; the work is done in the other rooms.
"""
