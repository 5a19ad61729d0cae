"""A host each: its settings, stores and telemetry become an app. No rule of the protocol."""
