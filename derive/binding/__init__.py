"""What bindings share: a cell's kernels by content, arguments by name, the parts of whole arrays.

| file         | holds                                                                 |
| ------------ | --------------------------------------------------------------------- |
| wanted.py    | which gradients a kernel of its own is worth                          |
| slices.py    | where the parts of whole arrays lie                                   |
| lengths.py   | lengths of dimensions that a user gives                              |
| arguments.py | what a user gave, by name, checked                                    |

A binding hands arrays of another library to compiled functions: derive.torch, derive.jax.
"""
