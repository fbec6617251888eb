"""pync's own command line: `face` runs it, `options` and `conflicts` are its data."""
