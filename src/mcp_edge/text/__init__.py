"""Text as it is compared, shown, read as an option and written to a log. Pure."""
