"""The resource server: what it says of itself, how it challenges, and tokens that another server has issued."""
