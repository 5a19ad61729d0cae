"""The stores: one contract for each port, run against every adapter on its real engine."""
