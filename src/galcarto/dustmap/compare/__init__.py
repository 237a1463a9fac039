"""Maps against the truth and against other maps. Knows no training."""
