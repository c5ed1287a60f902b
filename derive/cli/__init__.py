"""What each command of the command line does, one file a command.

In: plain values, as the options of a command say.  Out: an exit status; results on standard output.
Not here: options and help (commands.py, measurements.py).
"""
