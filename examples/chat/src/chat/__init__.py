"""Chat rooms over HTTP and WebSocket."""
