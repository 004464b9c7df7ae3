"""Trust: who calls, and what they may do. Knows neither the API nor the stores."""
