"""Measures of a generated clip: functions from arrays to numbers with units; no files, no configuration.

- :mod:`metrics.motion`: does the face make the same micro-expression (rho, vcor, gain, skill …)
- :mod:`metrics.image`: L1, PSNR, SSIM, sharpness
- :mod:`metrics.lpips`: the learned perceptual distance, where its weights are given
- :mod:`metrics.keypoints`: average key point distance and the detector's own jitter
- :mod:`metrics.identity`: is it still the same person
- :mod:`metrics.flow`: optical flow, and its end-point error against a known motion field
- :mod:`metrics.warp`: the yardsticks "still" and "warp" as clips
- :mod:`metrics.statistics`: intervals of means, comparison of two methods
"""
