"""Arrays with axes: shapes by name, the parts that arrays are cut into, and their Step.

needs         whether a cell is checked here
uses          the names on the right of its definitions
shapes        a shape for every name and expression, or what is wrong
cuts          where axes that are joined and split have to be cut
values        arrays in parts, and elementwise equations of them
lower         checked definitions -> the Step
check         the arrows between them
given         the cell whose arrays are all given, as kernels take it
"""
