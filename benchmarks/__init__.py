"""Benchmarks: each measures the project's path in turns with a reference path, and prints ratios."""
