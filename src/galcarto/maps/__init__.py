"""Maps: the cube, its published forms, reader, queries and format checks. Imports no torch."""
