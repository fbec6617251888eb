"""What scripts/build makes pync.pyz with: pync, click and h11 in one file that any CPython from 3.11 on runs.

Theory. A zip file with a `__main__.py` is a program (zipapp), and Python reads the modules in it by itself (zipimport).
But to compile them costs more than twice what pync takes to probe a port, and to read the table of all the files costs
a twelfth of it for each version that is compiled for. So each version of Python has a single entry with all modules:
compiled, deflated one by one, and put into a marshalled dict. One more entry has their source, for a Python that is not
among these. `start.py` is the archive's `__main__.py`: it takes the entry for the Python that runs it.

All modules are in memory from the start. So a pync that has become another user, or has no descriptor left, does not
depend on the file any more, and neither does one whose file was replaced meanwhile.

The same source and the same Pythons give the same bytes: entries are sorted and have one date (SOURCE_DATE_EPOCH, or
the first that zip knows), and each Python that compiles is a new process whose hashes are not random.
"""
