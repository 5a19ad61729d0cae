"""The apps that ask for access: known by registration, by a metadata document, or from the settings."""
