"""The parts of ``evaluate.py``: which clips belong together, scoring one of them, tables, pictures, the report."""

YARDSTICKS = ("still", "warp")  # methods that the engine makes itself
