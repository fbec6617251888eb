"""pync's own command line."""
