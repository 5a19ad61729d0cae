"""What is in the store, and what may be done with it. No wire and no tool."""
