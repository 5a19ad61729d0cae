"""What is in the store, and what may be done with it. Records know no wire and no tool."""
