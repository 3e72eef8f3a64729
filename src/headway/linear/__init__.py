"""Linear models on cached features: one factorisation serves every score and every probe."""
