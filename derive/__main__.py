"""`python -m derive` is the `derive` command.

In: the command line.  Out: its exit status.
Not here: anything else (cli/main.py).
"""

from derive.cli.main import main

if __name__ == "__main__":
    main()
