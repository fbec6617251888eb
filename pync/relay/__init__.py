"""Moving bytes from one end to the other, and ending right."""
