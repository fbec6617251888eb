"""The rig of the differential table: one row of it is played to one program, in a network of its own.

`differential.py` beside this folder is what the tests use.
"""
