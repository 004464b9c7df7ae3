"""Object stores: one interface, one module per store."""
