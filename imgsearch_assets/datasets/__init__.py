"""Labelled pictures of any origin (drawn, a folder, COCO, public benchmarks, the live catalogue) as one
value, and splits of them by product, checked for leaks.
"""
