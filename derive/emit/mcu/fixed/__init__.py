"""The fixed-point numbers of the mcu target: int16 with a power of two each, int32 sums.

| file          | what it holds                                                               |
| ------------- | --------------------------------------------------------------------------- |
| operations.py | a step as equations of one operation each, what is known computed beforehand |
| order.py      | in which order they run, and running them in float                          |
| ranges.py     | between what each array lies: by intervals, by what is given, by data        |
| forms.py      | the operations in integers                                                  |
| scales.py     | the power of two of each array, and the integers of each operation           |
| integers.py   | running them in integers: what the device computes, bit for bit             |
| writer.py     | the numbers as lines.py writes them                                         |

Not here: loops and places (lines.py, passes.py), which both kinds of numbers share.
"""
