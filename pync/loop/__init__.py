"""The loop: tasks, what wakes them, and the operating system's signals."""
