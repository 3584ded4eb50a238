"""A shop to try everything with: a catalogue of drawn garments, or of a folder of photos, changes to it,
and the server of its pictures.
"""
