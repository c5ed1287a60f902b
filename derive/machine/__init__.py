"""What this machine can do, measured once and remembered.

| module  | what it does                                                          |
| ------- | --------------------------------------------------------------------- |
| probe   | measures: multiply-adds, activations, reading from each cache         |
| known   | the same, from the cache folder where it was measured before          |
"""
