"""Getting a connected peer: by connecting (`outgoing`), through a proxy, at the next address, or by accepting."""
