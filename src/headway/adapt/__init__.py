"""Adaptation methods, one a file: each learns a head from features and says how it does on rows it did not see."""
