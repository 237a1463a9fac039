"""Compare maps with the truth, with other maps and with tracers of dust. Imports no training."""
