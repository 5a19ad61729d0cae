"""AWS Lambda: events of a Function URL become requests of the app, buffered or streamed."""
