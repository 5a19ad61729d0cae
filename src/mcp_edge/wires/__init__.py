"""The wires: HTTP to exchange and back, one file for each protocol era."""
