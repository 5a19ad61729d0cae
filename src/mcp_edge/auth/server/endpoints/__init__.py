"""What programs ask the authorization server for, answered in JSON."""
