"""The inverse: from images to posteriors of a cumulative profile."""
