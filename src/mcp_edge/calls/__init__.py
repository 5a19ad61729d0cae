"""One request from its beginning to its final response. No wire."""
