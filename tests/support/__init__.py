"""What tests of several processes need: a fleet of servers and a strict round robin before it."""
