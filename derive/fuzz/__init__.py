"""Fuzzing: random cells, texts, files and calls, made and shrunk by hypothesis.

`run.fuzz` is the loop, `derive fuzz` its command. One file, one thing:

| file          | holds                                                                      |
| ------------- | -------------------------------------------------------------------------- |
| fault.py      | what is raised where something is wrong                                    |
| running.py    | one call of a kernel, everything around it watched                         |
| grammar.py    | random well-typed cells; axes_grammar.py: whose arrays have axes           |
| calls.py      | random calls of their kernels, and a call as text                          |
| wholes.py     | arrays of a call for the interpreter, and its results for a user           |
| torch_cell.py | a cell evaluated by torch; torch_axes.py: axes by name                     |
| truth.py      | what a call must give                                                      |
| worker.py     | C kernels in a process that may die                                        |
| serve.py      | the other end of it                                                        |
| check.py      | a cell and a call through every target                                     |
| cells_room.py | `--what cells`                                                             |
| run.py        | the loop                                                                   |
"""
