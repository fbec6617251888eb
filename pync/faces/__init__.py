"""The command lines of pync: each face is an option table, its words on stderr and its exit statuses."""
