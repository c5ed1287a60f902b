"""derive.mcu: trained cells on a microcontroller.

    files = derive.emit(cell, "mcu")                  # NAME.h, NAME.c and derive_mcu.h
    text = derive.mcu.params_header(cell, params)     # NAME_params.h
    derive.mcu.export(cell, "device", params)         # all of them, and a main.c
    fixed = derive.mcu.quantize(cell, params, data=x) # int16, and what it computes
    kernel = derive.compile(cell, target="mcu")       # the same C on this machine

| file             | what it holds                                            |
| ---------------- | -------------------------------------------------------- |
| export.py        | a folder of all files for a cell and its parameters      |
| quantize.py      | a cell in fixed point, or with weights in int8           |
| params_header.py | parameters as a header                                   |
| main_file.py     | a program that runs the cell over an example             |

Not here: the generated code (emit/mcu), running it on this machine (kernel/mcu_backend.py).
"""

from derive.mcu.export import export as export
from derive.mcu.params_header import params_header as params_header
from derive.mcu.quantize import quantize as quantize
from derive.mcu.quantize import quantize_weights as quantize_weights

__all__ = ["export", "params_header", "quantize", "quantize_weights"]
