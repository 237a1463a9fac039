"""The machinery that learns: examples, training, networks, heads, calibration, trust, scores. It knows no dust."""
