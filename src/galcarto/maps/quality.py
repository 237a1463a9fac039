"""Bits of the cube's variable ``quality``."""

NOT_OBSERVED, PARTLY_OBSERVED, STARS_RUN_OUT, POOR_FIT, UNLIKE_TRAINING = 1, 2, 4, 8, 16
