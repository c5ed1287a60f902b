"""`derive bench`: derive's kernels and other libraries, on the same work, in one run.

In: cells, shapes, numbers of threads, options.  Out: tables or JSON on standard output; the exit
status: 1 if one of derive's kernels was wrong.
Not here: any of the work.

| module     | what it does                                            |
| ---------- | ------------------------------------------------------- |
| shapes     | which sizes are measured                                |
| task       | the numbers that every contestant is given              |
| stacks     | stacks of layers, as tasks of single ones                |
| loop       | a schedule as the plain loop of a library, for any cell |
| items      | what a phase of such a loop is made of                  |
| names      | what the functions of such a loop mean in a library     |
| onnx_graph | such a loop as an ONNX graph                            |
| onnx_value | the arrays of such a graph                              |
| peers      | the contestants, one file each                          |
| agree      | whether results are right                               |
| measure    | medians of interleaved times                            |
| bound      | the least time a cell needs on it                       |
| host       | peers, and what is asked of them                        |
| worker     | a host in a process of its own                          |
| contest    | one cell and shape: enter, check, measure               |
| run        | all contests                                            |
| record     | what is reported                                        |
| table      | tables                                                  |
| plot       | a picture                                               |
| tool       | the speed of derive itself                              |
"""
