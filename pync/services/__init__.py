"""What a listener does with its clients."""
