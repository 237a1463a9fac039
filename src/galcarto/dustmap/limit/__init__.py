"""How much the diagrams can tell: the likelihood itself, and its information."""
