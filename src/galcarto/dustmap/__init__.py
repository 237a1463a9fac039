"""The dust map: settings, diagrams, training and inference of extinction profiles."""
