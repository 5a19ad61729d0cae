"""What a user has granted an app: its record, its tokens, its end."""
