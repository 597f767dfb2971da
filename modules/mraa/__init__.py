"""MRAA, "Motion Representations for Articulated Animation" (Siarohin et al., CVPR 2021): the second baseline.

Written from the paper and from the facts in the project's specification; parameter names are those of the
published checkpoints.
"""
