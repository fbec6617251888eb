"""Getting a connected peer: by connecting, through a proxy, or by accepting one."""
