"""What is done with one connected peer: a conversation with stdin and stdout, or a program."""
