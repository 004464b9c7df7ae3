"""The drivers that live in the kit. Those of other languages lie beside their clients."""
