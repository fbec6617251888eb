"""Getting a connected or a listening socket; the access rules for its clients, and the user that serves them."""
