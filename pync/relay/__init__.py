"""Moving bytes between two ends, and ending right: flows, the kernel's fast path, log files and the rules of ending."""
