"""From sightlines to published maps, and their reader. Knows no torch."""
