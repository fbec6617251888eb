"""Getting a connected or a listening socket, and deciding who is served and as whom."""
