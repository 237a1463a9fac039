"""The inverse: from images to posteriors of a cumulative profile."""

NARROWER = 0.9  # spread of the posterior's local density over that of the prior up to which the data speak
