"""What people see of the authorization server: sign-in, consent, connected apps and accounts."""
