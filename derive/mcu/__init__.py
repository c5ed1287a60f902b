"""derive.mcu: trained cells on a microcontroller.

    files = derive.emit(cell, "mcu")                  # NAME.h, NAME.c and derive_mcu.h
    text = derive.mcu.params_header(cell, params)     # NAME_params.h
    kernel = derive.compile(cell, target="mcu")       # the same C on this machine

| file             | what it holds                                            |
| ---------------- | -------------------------------------------------------- |
| params_header.py | parameters as a header                                   |

Not here: the generated code (emit/mcu), running it on this machine (kernel/mcu_backend.py).
"""

from derive.mcu.params_header import params_header as params_header

__all__ = ["params_header"]
