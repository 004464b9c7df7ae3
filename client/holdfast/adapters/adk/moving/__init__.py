"""Import sessions of ADK's `DatabaseSessionService` and `SqliteSessionService`."""
