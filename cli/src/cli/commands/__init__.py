"""The commands: their options, and which part of the package does the work.

Those parts are imported when a command runs, not before: together they take two seconds, and `weft --help` none.
"""
