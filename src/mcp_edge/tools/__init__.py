"""What a tool may ask of its call."""
