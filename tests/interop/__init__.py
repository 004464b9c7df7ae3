"""Programs that use the API without the SDK."""
