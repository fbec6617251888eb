"""The loop that runs everything: its kernel, tasks with the conditions that wake them, and the system's signals."""
