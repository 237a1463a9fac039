"""What every part uses: errors, units, directions, files, provenance, downloads."""
