"""The forward model: stars behind dust, as a survey's colour-magnitude diagram."""
