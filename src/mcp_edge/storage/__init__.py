"""The stores: two ports and one adapter file for each engine."""
