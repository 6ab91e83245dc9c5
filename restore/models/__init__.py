"""The networks: arithmetic on tensors, one Hub class a file."""
