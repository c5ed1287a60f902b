"""Makes `reference` and other shared modules of tests/ importable from every test.

NumPy's own threads are switched off before it loads: tests run side by side, and a library that
spins for a processor that another process holds is slower by a large factor.
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
