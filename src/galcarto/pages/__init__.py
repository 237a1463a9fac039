"""Web pages: the report and the explorer."""
