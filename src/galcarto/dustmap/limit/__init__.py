"""Information limit of the diagrams: sampled posterior and Fisher information."""
