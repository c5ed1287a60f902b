"""What each command of the command line does, one file a command.

In: plain values, as main.py read them.  Out: an exit status; results on standard output.
Not here: options and help (main.py).
"""
