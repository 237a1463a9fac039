"""Bits of the cube's variable ``quality``, and when the data constrain a bin."""

NOT_OBSERVED, PARTLY_OBSERVED, STARS_RUN_OUT, POOR_FIT, UNLIKE_TRAINING = 1, 2, 4, 8, 16
CONTRACTED = 0.9  # the data constrain a bin if posterior / prior sd of its log-density is below this
