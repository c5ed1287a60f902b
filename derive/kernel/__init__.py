"""Running a compiled cell: NumPy and ctypes, no SymPy.

signature, convert, arguments       what is given, checked and converted
call, backend                       one call, and what a target must offer
buffers, recycled                   memory of arrays
chunks, remat, stream               long sequences, single steps
kernel, run, wanted, watched        Kernel, Run, Gradients, some of them, arrays that must stay
numpy_backend, c_backend, team      the two targets, and how many threads a call is worth
argument_words, pool                what a compiled function is given, and its threads
stack, stack_backward, tasks        all layers of a stack in one call
side_by_side                        whether they run at the same time
fast/                               calls that are repeated
tune/                               the fastest way to run that keeps the bits
"""

from derive.kernel.kernel import Kernel as Kernel
from derive.kernel.run import Gradients as Gradients
from derive.kernel.run import Run as Run
