"""What stops a run on its way to shoppers: a catalogue that cannot be right, a generation that is not good
enough. Each gate is a plain function with a verdict; here it becomes a blocking check, and here a person
lets one pass, once and with a reason. A model's gate is in ``models.registration``.
"""
