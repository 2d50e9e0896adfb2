"""The programs: a module each, behind a door in ``tools/``.

``main`` reads the command line, with ``parse_args`` where it is long, and does the work. torch,
detectron2 and the rooms of d2video that need them are imported where the work begins, inside
functions: ``--help`` and a mistake in the arguments answer at once.
"""
