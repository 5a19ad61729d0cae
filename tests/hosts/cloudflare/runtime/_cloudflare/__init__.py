"""What workerd builds in and the Workers SDK asks for: here only the refusal of randomness during imports."""
