"""The Lambda wrapper: the built artefact under real and emulated runtimes, and what is deployed around it."""
